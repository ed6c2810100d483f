"""The configuration: one frozen tree, read once at start from `node.toml` and the environment.

Every key has a default; `node.toml` at the root of the repository shows them all. A key that is unknown, has
the wrong type or holds an impossible value stops the start: the error names the key, the line and a valid
example. `MEDK2N__COMPLETION__QUIET_SECONDS=5` in the environment outranks the file. Relative paths are taken
from the folder of the configuration file, or from the working directory where there is no file.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from medk2n_node.config_source import Source, read_source

CONTRASTS = ("T1", "T1C", "T2", "FLAIR", "DWI", "ADC")
Contrast = Literal["T1", "T1C", "T2", "FLAIR", "DWI", "ADC"]
ResultKind = Literal["series", "uncertainty", "report", "overlay", "summary", "rejection"]
RESULT_KINDS: tuple[ResultKind, ...] = (
    "series",
    "uncertainty",
    "report",
    "overlay",
    "summary",
    "rejection",
)
Port = Annotated[int, Field(ge=0, le=65535)]


def _ae_title(value: str) -> str:
    # PS3.5 section 6.2, VR AE: 16 characters of the default repertoire, no backslash, not only spaces.
    title = value.strip(" ")
    if not title or len(title) > 16 or not re.fullmatch(r"[ -\[\]-~]+", title):
        raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash")
    return title


def _regular_expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return value


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Pattern = Annotated[str, AfterValidator(_regular_expression)]


class Section(BaseModel):
    """A table of the file: frozen, no unknown key, no value of another type."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False
    )


class NodeSection(Section):
    """Who we are and where things lie."""

    ae_title: AeTitle = "MEDK2N"
    host: str = Field(default="127.0.0.1", min_length=1)
    port: Port = 11112
    tls_port: Port = 0
    tls_certificate: str = ""
    tls_key: str = ""
    tls_authorities: str = ""
    storage: str = "var/storage"
    database: str = "sqlite:///var/medk2n.db"

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if self.tls_port and not (self.tls_certificate and self.tls_key):
            raise ValueError(
                'tls_port needs tls_certificate and tls_key; example: tls_certificate = "node.crt"'
            )
        if self.tls_port and self.tls_port == self.port:
            raise ValueError("port and tls_port must differ: a port speaks TLS or it does not")
        return self


class PeerSection(Section):
    """A caller that is let in."""

    ae_title: AeTitle = Field(examples=["MR_SCANNER"])
    hosts: tuple[str, ...] = Field(default=(), strict=False)
    tls: bool = False

    @field_validator("hosts")
    @classmethod
    def _addresses(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            try:
                ipaddress.ip_network(host, strict=False)
            except ValueError as error:
                raise ValueError(
                    f'{host!r} is neither an IP address nor a network; example: hosts = ["10.1.2.3", "10.1.4.0/24"]'
                ) from error
        return hosts


class DestinationSection(Section):
    """A place that results are sent to."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$", examples=["pacs"])
    kind: Literal["dicom"] = "dicom"
    ae_title: AeTitle = Field(examples=["ORTHANC"])
    host: str = Field(min_length=1, examples=["127.0.0.1"])
    port: int = Field(ge=1, le=65535, examples=[4242])
    tls: bool = False
    send: tuple[ResultKind, ...] = Field(default=RESULT_KINDS, strict=False)
    enhanced: bool = False
    commitment: bool = False

    @field_validator("commitment")
    @classmethod
    def _no_commitment_yet(cls, wanted: bool) -> bool:
        if wanted:
            raise ValueError("this version does not ask for storage commitment; example: commitment = false")
        return wanted


class ListenerSection(Section):
    """How the receiving side guards itself."""

    max_associations: int = Field(default=100, ge=1, le=10000)
    max_associations_per_host: int = Field(default=50, ge=1, le=10000)
    max_pdu_bytes: int = Field(default=131072, ge=4096, le=1048576)
    negotiation_timeout_seconds: float = Field(default=10.0, gt=0)
    message_timeout_seconds: float = Field(default=60.0, gt=0)
    idle_timeout_seconds: float = Field(default=600.0, gt=0)
    shutdown_seconds: float = Field(default=10.0, ge=0)
    disk_reserve_mb: int = Field(default=1024, ge=0)
    require_called_ae: bool = False
    duplicate_status: Literal["success", "duplicate"] = "success"


class CompletionSection(Section):
    """When a study counts as whole."""

    quiet_seconds: float = Field(default=60.0, gt=0)
    quiet_min_seconds: float = Field(default=10.0, gt=0)
    quiet_max_seconds: float = Field(default=600.0, gt=0)
    max_wait_minutes: float = Field(default=60.0, gt=0)
    poll_seconds: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.quiet_min_seconds > self.quiet_max_seconds:
            raise ValueError("quiet_min_seconds must not be above quiet_max_seconds")
        return self


class TargetsSection(Section):
    """Which contrasts may be made."""

    allowed: tuple[Contrast, ...] = Field(default=("T1", "T2", "FLAIR"), strict=False)
    high_risk: tuple[Contrast, ...] = Field(default=("T1C", "DWI", "ADC"), strict=False)


class ClassificationOverride(Section):
    """A site's own word on what a series is; all patterns that are given must match."""

    ae_title: Pattern = ""
    station: Pattern = ""
    description: Pattern = Field(default="", examples=["^AX FLAIR"])
    contrast: Literal["T1", "T1C", "T2", "FLAIR", "DWI", "ADC", "none"] = Field(examples=["FLAIR"])

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if not (self.ae_title or self.station or self.description):
            raise ValueError(
                'an override needs ae_title, station or description; example: description = "^AX FLAIR"'
            )
        return self


class ClassificationSection(Section):
    """Site knowledge about series, and what follows when the images contradict the headers."""

    on_image_disagreement: Literal["hold", "exclude", "ignore"] = "ignore"
    overrides: tuple[ClassificationOverride, ...] = Field(default=(), strict=False)


class ProtocolsSection(Section):
    """Which examinations expect which contrasts."""

    file: str = ""


class SynthesisSection(Section):
    """The model and how it runs."""

    model: str = ""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    deterministic: Literal["auto", "on", "off"] = "auto"
    batch_slices: int = Field(default=8, ge=1, le=512)
    attempts: int = Field(default=3, ge=1, le=20)
    site: str = ""

    @model_validator(mode="after")
    def _bf16_needs_a_gpu(self) -> Self:
        if self.precision == "bf16" and self.device == "cpu":
            raise ValueError(
                'precision "bf16" needs a GPU: a CPU computes in fp32; example: precision = "auto"'
            )
        return self


class ResultsSection(Section):
    """Which objects are made of a result, and how they are numbered and called."""

    series_number: int = Field(default=9000, ge=1, le=99000)
    content_qualification: Literal["RESEARCH", "SERVICE", "PRODUCT"] = "RESEARCH"
    qualification_decided_by: str = ""
    uncertainty: bool = True
    report: bool = True
    report_when_nothing_made: bool = True
    overlay: bool = False
    watermark: bool = False
    summary: bool = False
    superseding: Literal["automatic", "hold"] = "automatic"
    reject_superseded: bool = False

    @model_validator(mode="after")
    def _product_is_somebodys_decision(self) -> Self:
        if self.content_qualification == "PRODUCT" and not self.qualification_decided_by.strip():
            raise ValueError(
                'content_qualification = "PRODUCT" needs qualification_decided_by; '
                'example: qualification_decided_by = "Head of radiology, 2026-03-01"'
            )
        return self


class DeliverySection(Section):
    """How a destination that fails is tried again."""

    backoff_seconds: float = Field(default=10.0, gt=0)
    backoff_max_seconds: float = Field(default=1800.0, gt=0)
    give_up_hours: float = Field(default=72.0, gt=0)
    connect_timeout_seconds: float = Field(default=10.0, gt=0)
    response_timeout_seconds: float = Field(default=60.0, gt=0)


class ShadowSection(Section):
    """Making what is there already, to see drift."""

    every: int = Field(default=0, ge=0)


class RetentionSection(Section):
    """How long received objects are kept."""

    received_days: int = Field(default=0, ge=0)

    @field_validator("received_days")
    @classmethod
    def _nothing_is_deleted(cls, days: int) -> int:
        if days:
            raise ValueError("this version deletes nothing that it received; example: received_days = 0")
        return days


class ObserveSection(Section):
    """What the node says about itself."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "text", "json"] = "auto"


class Config(Section):
    """The whole configuration in force."""

    node: NodeSection = NodeSection()
    peers: tuple[PeerSection, ...] = Field(default=(), strict=False)
    destinations: tuple[DestinationSection, ...] = Field(default=(), strict=False)
    listener: ListenerSection = ListenerSection()
    completion: CompletionSection = CompletionSection()
    targets: TargetsSection = TargetsSection()
    classification: ClassificationSection = ClassificationSection()
    protocols: ProtocolsSection = ProtocolsSection()
    synthesis: SynthesisSection = SynthesisSection()
    results: ResultsSection = ResultsSection()
    delivery: DeliverySection = DeliverySection()
    shadow: ShadowSection = ShadowSection()
    retention: RetentionSection = RetentionSection()
    observe: ObserveSection = ObserveSection()

    @field_validator("destinations")
    @classmethod
    def _names_once(cls, destinations: tuple[DestinationSection, ...]) -> tuple[DestinationSection, ...]:
        names = [destination.name for destination in destinations]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two destinations are called {name!r}; every name stands once")
        return destinations

    def destination(self, name: str) -> DestinationSection | None:
        """The destination of that name, or None."""
        return next((one for one in self.destinations if one.name == name), None)

    @property
    def storage_path(self) -> Path:
        """The storage root."""
        return Path(self.node.storage)


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read `path` (None: defaults alone), apply `MEDK2N__...` from `environ`, and check everything.

    Paths in the result are absolute.

    Raises:
        ConfigError: the file cannot be read, or a key is unknown, of the wrong type or impossible.
    """
    source = read_source(path, environ, Config)
    try:
        config = Config.model_validate(source.values)
    except ValidationError as error:
        raise source.explain(error) from error
    return _with_absolute_paths(config, source)


def _with_absolute_paths(config: Config, source: Source) -> Config:
    """Anchor relative paths now, so that no later change of the working directory moves the storage."""

    def anchored(value: str) -> str:
        return str((source.folder / Path(value).expanduser()).resolve()) if value else value

    node: dict[str, Any] = {
        name: anchored(getattr(config.node, name))
        for name in ("storage", "tls_certificate", "tls_key", "tls_authorities")
    }
    scheme, separator, file = config.node.database.partition(":///")
    if scheme.split("+")[0] == "sqlite" and separator and file and file != ":memory:":
        node["database"] = f"{scheme}:///{anchored(file)}"
    return config.model_copy(
        update={
            "node": config.node.model_copy(update=node),
            "synthesis": config.synthesis.model_copy(update={"model": anchored(config.synthesis.model)}),
            "protocols": config.protocols.model_copy(update={"file": anchored(config.protocols.file)}),
        }
    )
