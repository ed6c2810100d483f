"""All checks in order, one by one as they are made, so that a person sees progress."""

from __future__ import annotations

from collections.abc import Iterator

from medk2n_node.config import Config, DestinationSection
from medk2n_node.installation import environment, machine
from medk2n_node.installation.checks import Check, Echo, State


def examine(config: Config, echo: Echo) -> Iterator[Check]:
    """Look at the environment, the machine and the destinations. Nothing is changed.

    Args:
        config: the configuration in force.
        echo: asks a DICOM peer for a C-ECHO.
    """
    yield environment.python()
    yield environment.packages(
        environment.installed(),
        environment.locked(environment.BASE_LOCKS),
        environment.locked(environment.EXTRA_LOCKS),
    )
    yield from environment.ownership()
    yield environment.left_behind()
    yield machine.storage(config)
    yield machine.database(config)
    yield from machine.ports(config, echo)
    yield machine.weights(config)
    yield machine.device(config)
    yield environment.dciodvfy()
    for destination in config.destinations:
        yield reachable(destination, echo)


def reachable(destination: DestinationSection, echo: Echo) -> Check:
    """Does the destination answer a C-ECHO?"""
    name = f"destination {destination.name}"
    where = f"{destination.ae_title} at {destination.host}:{destination.port}"
    answer = echo(destination.ae_title, destination.host, destination.port, destination.tls)
    if answer.outcome == "success":
        return Check(name=name, state=State.OK, found=f"{where} answers")
    return Check(
        name=name,
        state=State.UNREACHABLE,
        found=f"{where}: {answer.words}",
        cure="Is it running, and does it know our AE title and address? Check [[destinations]] in node.toml",
    )
