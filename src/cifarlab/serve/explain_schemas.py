"""Shapes of the answers of POST /explain, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from cifarlab.serve.schemas import BINARY, IMAGE_BODY

Grid = list[list[float]]
Spans = list[tuple[int, int]]


class Explained(BaseModel):
    """What all explanations tell."""

    model: str
    views: Literal["none"] = Field(description="Always the network on the picture itself, whatever views its predictions average.")


class Target(BaseModel):
    """The class that is asked about."""

    label: str
    index: int
    probability: float = Field(ge=0, le=1, description="On this one view, calibrated where `calibrated` says so.")
    calibrated: bool


class Layer(BaseModel):
    """One layer, as `cifarlab models show` lists it."""

    name: str
    kind: str
    type: str = Field(description="Kind, details and activation, such as: conv 3x3 same, ReLU.")
    shape: list[int] = Field(description="[height, width, channels], or [features].")
    parameters: int
    receptive_field: int | Literal["image", "unknown"] = Field(description="Side in pixels of the network's input.")
    step: int | None = Field(description="Pixels between the fields of neighbours.")
    has_map: bool = Field(description="Whether it has more than one position, as kind=gradcam needs.")


class Layers(Explained):
    """kind=layers: all layers in the order of their computation."""

    kind: Literal["layers"]
    size: int = Field(description="Side in pixels of the picture that the model sees.")
    network_size: int = Field(description="Side of the network's input, after preprocessing.")
    default_layer: str | None = Field(description="Of kind=gradcam and kind=activations; null for a network without such a convolution.")
    fill: list[int] = Field(description="Mean colour of the training images, 0 to 255: what kind=occlusion hides with.")
    layers: list[Layer]


class GradCamMap(Explained):
    """kind=gradcam: Selvaraju et al. 2017, equations 1 and 2."""

    kind: Literal["gradcam"]
    layer: str
    target: Target
    shape: list[int] = Field(description="[height, width] of the layer.")
    values: Grid = Field(description="One a position, in units of the logit, at least 0.")
    over_picture: Grid = Field(description="The same, resized bilinearly to the picture.")
    highest: float


class OcclusionMap(Explained):
    """kind=occlusion: Zeiler and Fergus 2014: probability without minus probability with a patch over the picture."""

    kind: Literal["occlusion"]
    target: Target
    patch: int = Field(description="Side of the patch in pixels.")
    tops: list[int] = Field(description="First rows of the patches; their first columns too.")
    fill: list[int] = Field(description="Colour of the patch: the mean of the training images.")
    values: Grid = Field(description="One a patch; above 0 where the class loses by it.")
    over_picture: Grid = Field(description="For each pixel the mean over the patches that cover it.")
    lowest: float
    highest: float


class Fields(BaseModel):
    """Receptive fields: [first pixel, number of pixels] for each row of the layer, and for each column. They may exceed the picture."""

    rows: Spans
    columns: Spans


class Activations(Explained):
    """kind=activations: what channels of a layer answer, after its activation."""

    kind: Literal["activations"]
    layer: Layer
    shape: list[int] = Field(description="[channels, height, width] of `values`; a layer of features has height and width 1.")
    first: int = Field(description="The first channel in `values`.")
    channels: int = Field(description="Channels of the layer.")
    lowest: float = Field(description="Of all channels of the layer.")
    highest: float
    values: str = Field(description="float32, little-endian, channel by channel and row by row, in base64.")
    fields: Fields | None = Field(description="null where receptive fields cannot be told.")


class Cell(BaseModel):
    """A position of a layer."""

    row: int
    column: int


class Box(BaseModel):
    """Pixels of the picture; it may exceed it."""

    top: int
    left: int
    height: int
    width: int


class FieldOfCell(Explained):
    """kind=receptive_field: which pixels of the picture one position of a layer can depend on."""

    kind: Literal["receptive_field"]
    layer: str
    cell: Cell
    box: Box | None = Field(description="null where it cannot be told.")
    inside: Box | None = Field(description="The part within the picture.")


Explanation = Annotated[Layers | GradCamMap | OcclusionMap | Activations | FieldOfCell, Field(discriminator="kind")]
PNG: Final[dict[str, Any]] = {**BINARY, "schema": {"type": "string", "format": "binary", "description": "form=png"}}
EXPLAIN_BODY: Final[dict[str, Any]] = {
    **IMAGE_BODY,
    "required": False,
    "description": IMAGE_BODY["description"] + " kind=layers and kind=receptive_field need none and look at none.",
}
