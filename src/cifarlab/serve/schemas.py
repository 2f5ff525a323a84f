"""Shapes of JSON bodies, for the OpenAPI document. Answers are made without them, which is faster; a test compares the two."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Field


class ErrorBody(BaseModel):
    """Every answer that is not a success."""

    error: str = Field(description="What was given, what is allowed, what to do.")


class ClassProbability(BaseModel):
    """One class and how probable it is."""

    label: str
    probability: float = Field(ge=0, le=1, description="Calibrated on validation, where the model was so for these views.")


class Prediction(BaseModel):
    """What a model says of one image."""

    model: str
    views: str = Field(description="Views of the image: none, flip, six, or selective (two where they suffice, else six).")
    predictions: list[ClassProbability] = Field(description="The most probable classes, the most probable first.")
    unlike: bool | None = Field(description="Whether the image is unlike the training data; null where the model cannot tell.")


class ServerMetadata(BaseModel):
    """Of the Open Inference Protocol: the server."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(BaseModel):
    """Of the Open Inference Protocol: whether the process answers."""

    live: bool


class ServerReady(BaseModel):
    """Of the Open Inference Protocol: whether all models answer."""

    live: bool
    ready: bool


class ModelReady(BaseModel):
    """Of the Open Inference Protocol: whether one model answers."""

    name: str
    ready: bool


class TensorMetadata(BaseModel):
    """Of the Open Inference Protocol: a tensor; -1 in its shape is any number."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """Of the Open Inference Protocol: a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class InferenceOutput(BaseModel):
    """Of the Open Inference Protocol: one tensor of an answer, flat in row-major order."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None
    data: list[float] | list[str] | list[bool] | None = Field(default=None, description="Left out where binary data was asked for.")


class InferenceResponse(BaseModel):
    """Of the Open Inference Protocol: the answer to an inference."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[InferenceOutput]


class Interval(BaseModel):
    """A share with its 95 % interval (Wilson)."""

    value: float
    low: float
    high: float


class ServedModelInfo(BaseModel):
    """A model, as the page needs to know it."""

    name: str
    classes: list[str]
    size: int = Field(description="Side of the square that the network sees, in pixels.")
    resize: str = Field(description="How a picture is brought to it: crop (central square) or squash.")
    center_crop: int | None = Field(description="Side of the central square that is left of it then; null where all is.")
    color: str = Field(description="What is left of its colours: rgb, or gray.")
    views: str = Field(description="Views of an image by default: none, flip, six, or selective (two where they suffice, else six).")
    unlike: bool = Field(description="Whether it can tell images that are unlike its training data.")
    calibrated: bool = Field(description="Whether its probabilities were calibrated on validation.")
    explain: bool = Field(description="Whether POST /explain can look inside: its PyTorch weights are at hand.")
    engine: str = Field(description="What computes: torch, onnx or onnx-int8.")
    accuracy: Interval | None = Field(description="On its test split, as recorded with the model; null where it was not measured.")


class ExamplePicture(BaseModel):
    """A picture to try."""

    name: str
    label: str | None = Field(description="The class that it shows; null for a thing of none of the classes.")
    origin: str = Field(description="Where it is from.")
    url: str = Field(description="Its address, relative to the server's root.")


BINARY: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}
IMAGE_BODY: Final[dict[str, Any]] = {
    "required": True,
    "description": "A JPEG, PNG, WebP, BMP or GIF file: the bytes themselves, whatever their Content-Type says, or a form with one file.",
    "content": {
        "application/octet-stream": BINARY,
        "image/*": BINARY,
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"image": BINARY["schema"]}, "required": ["image"], "additionalProperties": False}
        },
    },
}


def inference_body(size: int | None = None) -> dict[str, Any]:
    """The body of an inference request; the sides of the images are `size`, or the model's own."""
    side: dict[str, Any] = {"type": "integer", "minimum": 1} if size is None else {"const": size}
    parameters = {"type": "object"}
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"const": "images"},
            "datatype": {"const": "UINT8"},
            "shape": {
                "type": "array",
                "prefixItems": [{"type": "integer", "minimum": 1}, side, side, {"const": 3}],
                "minItems": 4,
                "maxItems": 4,
            },
            "parameters": parameters,
            "data": {"type": "array", "description": "Numbers from 0 to 255, row-major, flat or nested as the shape."},
        },
    }
    output = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "parameters": parameters}}
    schema = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": parameters,
            "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": tensor},
            "outputs": {"type": "array", "items": output},
        },
    }
    return {
        "required": True,
        "description": "JSON, or JSON followed by binary data (Inference-Header-Content-Length tells where it begins).",
        "content": {"application/json": {"schema": schema}, "application/octet-stream": BINARY},
    }


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Entries of a route's `responses` for what can be refused."""
    return {status: {"model": ErrorBody, "description": ERRORS[status]} for status in statuses}


ERRORS: Final = {
    400: "The request is malformed",
    401: "The token is missing or wrong",
    404: "There is no such model or version",
    408: "The body did not arrive in time",
    413: "The body, the image or the request is too large",
    415: "Not an image of an allowed format, or an encoded body",
    422: "The image is damaged, or a parameter is not allowed",
    429: "The queue is full; Retry-After says when to try again",
    500: "The model failed",
    503: "The model is not ready, or the server is stopping",
    504: "No answer before the deadline",
}
