"""What five published student systems say of themselves, and what is wrong in print: data, without PyTorch."""

from cifarlab.errors import UsageError, unknown
from cifarlab.published.background import LENET5_LAYERS, LENET5_SLIPS, PRETRAINED_NETWORKS, PUBLISHED_ACCURACIES, VERTICAL_EDGES
from cifarlab.published.facts import (
    FIGURES,
    AccuracyRange,
    Claim,
    ClassScore,
    ConvolutionExample,
    ParameterCount,
    PretrainedNetwork,
    PublishedLayer,
    PublishedSystem,
    Slip,
    Study,
)
from cifarlab.published.systems import SYSTEMS

__all__ = [
    "FIGURES",
    "LENET5_LAYERS",
    "LENET5_SLIPS",
    "PRETRAINED_NETWORKS",
    "PUBLISHED_ACCURACIES",
    "VERTICAL_EDGES",
    "AccuracyRange",
    "Claim",
    "ClassScore",
    "ConvolutionExample",
    "ParameterCount",
    "PretrainedNetwork",
    "PublishedLayer",
    "PublishedSystem",
    "Slip",
    "Study",
    "get_system",
    "published_systems",
    "slips_of",
]


def published_systems() -> tuple[PublishedSystem, ...]:
    """All systems, in the order of the reports."""
    return SYSTEMS


def get_system(name: str) -> PublishedSystem:
    """The system called `name`; raises UsageError, with the nearest match, where there is none."""
    for system in SYSTEMS:
        if system.name == name:
            return system
    raise UsageError(unknown("published system", name, [system.name for system in SYSTEMS]))


def slips_of(network: str) -> tuple[Slip, ...]:
    """What is wrong in print about a registered network, with the right figures; empty where nothing is known to be."""
    if network == "lenet5":
        return LENET5_SLIPS
    return tuple(slip for system in SYSTEMS if system.network == network for slip in system.slips)
