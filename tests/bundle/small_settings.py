"""A small network that learns from 400 digits in a second, and has 144 validation images."""

SETTINGS: dict[str, object] = {
    "model.name": "lab-base",
    "model.arguments": {},
    "optim.name": "adam",
    "optim.arguments": {},
    "optim.lr": 3e-3,
    "train.duration": "2ep",
    "data.train_size": 400,
    "evaluate.tta": "six",
}
