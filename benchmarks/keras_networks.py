"""The nine published networks in plain Keras, and the rate at which Keras trains one of them: a program for a Python with TensorFlow.

Written from the tables of the reports, without a line of cifarlab's, as a student would write them. What the reports leave open (rates of
dropout, augmentation, penalty) is as in cifarlab's recipes, so that both sides have the same work. training_rate.py runs this file:

    python keras_networks.py report10 --batch-size 32 --seconds 3 --threads 2 --precision fp32      # -> one line of JSON
    python keras_networks.py --count                                                                 # -> parameters of all nine
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

WARM_UP_STEPS = 8  # the first one traces the graph
PROBE_STEPS = 16  # timed to choose the number of steps that are measured
MOST_IMAGES = 50_000  # in memory at once: CIFAR-10's training split
SIDE, CLASSES = 32, 10


@dataclass(frozen=True)
class Network:
    """build: the network, softmax included. total and trainable: its parameters as published (resnet20: by hand from the paper).

    one_hot: labels as vectors, where the report says so. divided: the report divides the pixels by 255 before training; the two lab
    networks do it in a layer.
    """

    build: Callable[[], Any]
    total: int
    trainable: int
    optimizer: Callable[[], Any]
    one_hot: bool = False
    divided: bool = True


def _adam() -> Any:
    return keras.optimizers.Adam(1e-3)


def _adamax() -> Any:
    return keras.optimizers.Adamax(3e-3)


def _l2(factor: float) -> Any:
    return keras.regularizers.L2(factor) if factor else None


def _head(*, l2: float = 0.0) -> Any:
    """[N, C] -> [N, 10]: softmax in float32 under mixed precision too, as Keras advises."""
    return layers.Dense(CLASSES, activation="softmax", dtype="float32", kernel_regularizer=_l2(l2))


def _sequential(*stack: Any, head_l2: float = 0.0) -> Any:
    return keras.Sequential([layers.Input((SIDE, SIDE, 3)), *stack, _head(l2=head_l2)])


def _conv(filters: int, *, padding: str = "same", l2: float = 0.0) -> Any:
    return layers.Conv2D(filters, 3, padding=padding, activation="relu", kernel_regularizer=_l2(l2))


def _dense(units: int, *, l2: float = 0.0) -> Any:
    return layers.Dense(units, activation="relu", kernel_regularizer=_l2(l2))


def thesis18() -> Any:
    return _sequential(
        *(_conv(32), layers.BatchNormalization(), _conv(32), layers.MaxPooling2D()),
        *(_conv(64), _conv(64), layers.BatchNormalization(), layers.MaxPooling2D()),
        *(_conv(128), _conv(128), layers.BatchNormalization(), layers.MaxPooling2D(), layers.Dropout(0.25)),
        *(layers.Flatten(), _dense(128), layers.BatchNormalization(), layers.Dropout(0.5)),
    )


def report10() -> Any:
    stack: list[Any] = []
    for filters, convolutions, rate in ((32, 2, 0.2), (64, 2, 0.3), (128, 3, 0.4), (256, 3, 0.5)):
        for _ in range(convolutions):
            stack += [_conv(filters), layers.BatchNormalization()]
        stack += [layers.MaxPooling2D(), layers.Dropout(rate)]
    return _sequential(*stack, layers.Flatten(), layers.Dense(300), layers.Dense(100))


def resnet20() -> Any:
    """He et al. 2016, section 4.2, shortcuts without parameters (option A)."""
    image = layers.Input((SIDE, SIDE, 3))
    augmented = layers.RandomTranslation(3 / SIDE, 3 / SIDE)(layers.RandomFlip("horizontal")(image))
    x = layers.ReLU()(_residual_conv(augmented, 16, stride=1))
    for filters in (16, 32, 64):
        for block in range(3):
            stride = 2 if filters > 16 and block == 0 else 1
            y = layers.ReLU()(_residual_conv(x, filters, stride=stride))
            y = _residual_conv(y, filters, stride=1)
            if stride == 2:  # every second pixel, zeros for the missing channels: [N, H, W, C] -> [N, H/2, W/2, 2C]
                x = keras.ops.pad(x[:, ::2, ::2, :], ((0, 0), (0, 0), (0, 0), (0, filters // 2)))
            x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(image, _head(l2=1e-4)(layers.GlobalAveragePooling2D()(x)))


def _residual_conv(x: Any, filters: int, *, stride: int) -> Any:
    conv = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False, kernel_regularizer=_l2(1e-4))
    return layers.BatchNormalization()(conv(x))


def slides_m1() -> Any:
    return _sequential(*_three_convolutions())


def slides_m2() -> Any:
    return _sequential(layers.RandomFlip("horizontal"), *_three_convolutions(), layers.Dropout(0.5))


def _three_convolutions() -> list[Any]:
    first = [_conv(32, padding="valid"), layers.MaxPooling2D(), _conv(64, padding="valid"), layers.MaxPooling2D()]
    return [*first, _conv(64, padding="valid"), layers.Flatten(), _dense(64)]


def slides_m3() -> Any:
    stack: list[Any] = [layers.RandomFlip("horizontal")]
    for filters in (64, 128, 256):
        stack += [_conv(filters, l2=1e-3), layers.MaxPooling2D()]
    return _sequential(*stack, _conv(256, l2=1e-3), layers.Flatten(), _dense(128, l2=1e-3), _dense(64, l2=1e-3), head_l2=1e-3)


def slides_final() -> Any:
    stack: list[Any] = [layers.RandomFlip("horizontal")]
    for filters, rate in ((64, 0.2), (128, 0.2), (256, 0.2), (512, 0.5)):
        stack += [_conv(filters, l2=1e-4), layers.BatchNormalization(), layers.MaxPooling2D(), layers.Dropout(rate)]
    return _sequential(*stack, layers.Flatten(), _dense(128), _dense(64))


def lab_base() -> Any:
    return _sequential(
        layers.Rescaling(1 / 255),
        *(_conv(16, padding="valid"), _conv(16, padding="valid"), layers.MaxPooling2D()),
        *(_conv(32, padding="valid"), _conv(32, padding="valid"), layers.MaxPooling2D()),
        layers.Flatten(),
    )


def lab_final() -> Any:
    stack: list[Any] = [layers.Rescaling(1 / 255), layers.RandomFlip("horizontal"), layers.RandomTranslation(3 / SIDE, 3 / SIDE)]
    for filters, rate in ((32, 0.2), (64, 0.3), (128, 0.4)):
        stack += [_conv(filters), layers.BatchNormalization(), _conv(filters), layers.BatchNormalization()]
        stack += [layers.MaxPooling2D(), layers.Dropout(rate)]
    dense = [_dense(128), layers.BatchNormalization(), layers.Dropout(0.5)]
    return _sequential(*stack, layers.Flatten(), *dense)


NETWORKS = {
    "thesis18": Network(thesis18, total=551_978, trainable=551_274, optimizer=_adam),
    "report10": Network(report10, total=2_253_906, trainable=2_251_218, optimizer=_adamax, one_hot=True),
    "resnet20": Network(resnet20, total=269_722 + 1_376, trainable=269_722, optimizer=_adam),
    "slides-m1": Network(slides_m1, total=122_570, trainable=122_570, optimizer=_adam, one_hot=True),
    "slides-m2": Network(slides_m2, total=122_570, trainable=122_570, optimizer=_adam, one_hot=True),
    "slides-m3": Network(slides_m3, total=1_494_218, trainable=1_494_218, optimizer=_adam, one_hot=True),
    "slides-final": Network(slides_final, total=1_825_994, trainable=1_824_074, optimizer=_adam, one_hot=True),
    "lab-base": Network(lab_base, total=24_666, trainable=24_666, optimizer=_adam, divided=False),
    "lab-final": Network(lab_final, total=552_874, trainable=551_722, optimizer=_adam, divided=False),
}


class EpochClock(keras.callbacks.Callback):
    """Seconds, and processor seconds of all threads, of the last epoch. Without a method for batches it costs nothing per batch."""

    seconds = cpu_seconds = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begin = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds, self.cpu_seconds = time.perf_counter() - self._begin[0], time.process_time() - self._begin[1]


def build(name: str) -> Any:
    """The network called `name`, compiled; raises RuntimeError where its parameters are not as published."""
    network = NETWORKS[name]
    model = network.build()
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    if (model.count_params(), trainable) != (network.total, network.trainable):
        raise RuntimeError(
            f"{name}: {model.count_params()} parameters, {trainable} of them trained; published are {network.total} and {network.trainable}"
        )
    loss = "categorical_crossentropy" if network.one_hot else "sparse_categorical_crossentropy"
    model.compile(optimizer=network.optimizer(), loss=loss, metrics=["accuracy"])
    return model


def training_rate(name: str, *, batch_size: int, seconds: float) -> dict[str, Any]:
    """Images/s in one epoch of `fit` that takes about `seconds`, on random images, after a warm-up."""
    model, clock = build(name), EpochClock()

    def epoch(steps: int) -> float:
        images, labels = _random_images(name, steps * batch_size)
        model.fit(images, labels, batch_size=batch_size, verbose=0, callbacks=[clock])
        return steps * batch_size / clock.seconds

    epoch(WARM_UP_STEPS)
    most = max(1, MOST_IMAGES // batch_size)
    steps = min(max(PROBE_STEPS, round(epoch(PROBE_STEPS) * seconds / batch_size)), most)
    rate = epoch(steps)
    return {
        "images_per_second": rate,
        "steps": steps,
        "seconds": clock.seconds,
        "cpu_seconds": clock.cpu_seconds,
        "parameters": model.count_params(),
        "trainable": NETWORKS[name].trainable,
        "jit_compile": model.jit_compile,
    }


def _random_images(name: str, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """float32 [N, 32, 32, 3] in 0..1 (0..255 where the network divides), and labels as the report has them."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8).astype(np.float32)
    if NETWORKS[name].divided:
        images /= 255
    labels = rng.integers(0, CLASSES, count)
    return images, keras.utils.to_categorical(labels, CLASSES) if NETWORKS[name].one_hot else labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=list(NETWORKS), metavar="NAME")
    parser.add_argument("--count", action="store_true", help="build all networks and print their parameters")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    given = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(given.threads)
    tf.config.threading.set_inter_op_parallelism_threads(given.threads)
    keras.utils.set_random_seed(0)
    if given.precision == "bf16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    if given.count:
        answer: dict[str, Any] = {name: build(name).count_params() for name in NETWORKS}
    elif given.name is None:
        parser.error("name a network, or give --count")
    else:
        answer = training_rate(given.name, batch_size=given.batch_size, seconds=given.seconds)
        versions = {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}
        answer |= {"versions": versions}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
