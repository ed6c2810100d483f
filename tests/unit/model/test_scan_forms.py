"""Three forms of the scan, one state dict: the forms agree, and the third is called as mamba_ssm's source wants it."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import inspect
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network import MedK2N
from model.scan import Mamba2, ScanForm, forms, scan, scan_form, ssd_chunked, ssd_kernel, ssd_recurrence


def _inputs(length: int, seed: int = 0, device: str = "cpu") -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(2, length, 4, 32, generator=g)
    dt = F.softplus(torch.randn(2, length, 4, generator=g) - 2)
    a = -torch.tensor([0.5, 1.0, 4.0, 8.0])
    b, c = torch.randn(2, length, 16, generator=g) / 4, torch.randn(2, length, 16, generator=g) / 4
    d = torch.linspace(-1, 2, 4)
    return [v.to(device) for v in (x, dt, a, b, c, d)]


def _forward_and_backward(form: ScanForm, inputs: list[Tensor]) -> list[Tensor]:
    leaves = [v.clone().requires_grad_() for v in inputs]
    y = scan(leaves[0], leaves[1], leaves[2], leaves[3], leaves[4], leaves[5], form)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(9)).to(y.device)
    (y * weight).mean().backward()
    return [y.detach(), *(v.grad for v in leaves if v.grad is not None)]


@pytest.mark.parametrize("length", [70, 256])
def test_chunks_and_recurrence_agree_forward_and_backward(length: int) -> None:
    inputs = _inputs(length)
    truth = _forward_and_backward(ScanForm.RECURRENCE, inputs)
    found = _forward_and_backward(ScanForm.CHUNKED, inputs)
    assert len(truth) == len(found) == 7
    for a, b in zip(found, truth, strict=True):
        assert float((a - b).abs().max()) <= 1e-5 * max(1.0, float(b.abs().max()))


def test_a_mixer_gives_the_same_whatever_form_it_is_told() -> None:
    torch.manual_seed(0)
    mixer = Mamba2(64)
    u = torch.randn(1, 100, 64)
    found = {}
    for form in (None, ScanForm.CHUNKED, ScanForm.RECURRENCE):
        mixer.form = form
        with torch.no_grad():
            found[form] = mixer(u)
    assert torch.equal(found[None], found[ScanForm.CHUNKED])
    assert torch.allclose(found[None], found[ScanForm.RECURRENCE], atol=1e-5)
    assert not any("form" in key for key in mixer.state_dict())


def test_the_network_computes_the_same_image_by_recurrence() -> None:
    torch.manual_seed(1)
    network = MedK2N().eval()
    x, levels = torch.rand(1, 2, 3, 32, 32), torch.rand(1, 2, 9)
    with torch.no_grad():
        chunked = network(x, [0, 2], [3], levels).images
        for module in network.modules():
            if isinstance(module, Mamba2):
                module.form = ScanForm.RECURRENCE
        assert torch.allclose(network(x, [0, 2], [3], levels).images, chunked, atol=1e-5)


def test_the_image_changes_when_what_the_scan_gives_is_replaced_by_its_mean() -> None:
    torch.manual_seed(1)
    network = MedK2N().eval()
    x, levels = torch.rand(1, 2, 3, 64, 64), torch.rand(1, 2, 9)
    with torch.no_grad():
        whole = network(x, [0, 2], [3], levels).images
        for module in network.modules():
            if isinstance(module, Mamba2):
                module.register_forward_hook(lambda _m, _i, y: y.mean(dim=1, keepdim=True).expand_as(y))
        flat = network(x, [0, 2], [3], levels).images
    assert float((whole - flat).abs().max()) > 1e-4


def test_every_parameter_of_the_scan_learns() -> None:
    torch.manual_seed(1)
    mixer = Mamba2(64)
    mixer(torch.randn(2, 80, 64)).square().mean().backward()
    for name, p in mixer.named_parameters():
        assert p.grad is not None and float(p.grad.abs().max()) > 0, name


def test_the_form_follows_device_and_availability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "_kernel", lambda: ssd_chunked)
    assert scan_form("cpu") is ScanForm.CHUNKED
    assert scan_form("cuda:0") is ScanForm.KERNEL
    monkeypatch.setattr(forms, "_kernel", lambda: None)
    assert scan_form("cuda:0") is ScanForm.CHUNKED
    with pytest.raises(ImportError, match="extra `cuda`"):
        ssd_kernel(*_inputs(4))


def _source(name: str) -> Path:
    return Path(str(importlib.metadata.distribution("mamba-ssm").locate_file(name)))


def _theirs() -> ast.FunctionDef:
    tree = ast.parse(_source("mamba_ssm/ops/triton/ssd_combined.py").read_text(encoding="utf-8"))
    return next(
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == "mamba_chunk_scan_combined"
    )


def test_the_kernel_is_called_as_the_installed_packages_source_wants_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = _theirs()
    names = [a.arg for a in theirs.args.args]
    optional = names[-len(theirs.args.defaults) :]
    assert names[:6] == ["x", "dt", "A", "B", "C", "chunk_size"] and set(names[:6]).isdisjoint(optional)
    defaults = dict(zip(optional, (ast.literal_eval(d) if not isinstance(d, ast.Tuple) else None
                                   for d in theirs.args.defaults), strict=True))  # fmt: skip
    assert "D" in optional
    off = ("D", "z", "dt_bias", "initial_states", "seq_idx", "dt_softplus", "return_final_states")
    assert not any(defaults[name] for name in off), "what we do ourselves is off by default"
    words = ast.get_docstring(theirs) or ""
    for line in (
        "x: (batch, seqlen, nheads, headdim)",
        "dt: (batch, seqlen, nheads)",
        "B: (batch, seqlen, ngroups, dstate)",
        "C: (batch, seqlen, ngroups, dstate)",
        "D: (nheads, headdim) or (nheads,)",
        "out: (batch, seqlen, nheads, headdim)",
    ):
        assert line in words
    signature = inspect.Signature(
        [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in (*names[:6], "D")]
    )
    seen: dict[str, Tensor] = {}

    def stand_in(*args: object, **kwargs: object) -> Tensor:
        bound = signature.bind(*args, **kwargs).arguments
        seen.update(bound)
        return ssd_chunked(
            bound["x"], bound["dt"], bound["A"], bound["B"][:, :, 0], bound["C"][:, :, 0], bound["D"],
            bound["chunk_size"],
        )  # fmt: skip

    monkeypatch.setattr(forms, "_kernel", lambda: stand_in)
    inputs = _inputs(130)
    assert torch.equal(scan(*inputs, ScanForm.KERNEL), ssd_chunked(*inputs, forms.KERNEL_CHUNK))
    assert seen["B"].shape == (2, 130, 1, 16) and seen["chunk_size"] == 64


class _GatedNorm(nn.Module):
    """What layernorm_gated.RMSNorm computes with norm_before_gate=False, in PyTorch."""

    def __init__(self, size: int, eps: float, norm_before_gate: bool, group_size: int, **_: object) -> None:
        super().__init__()
        assert not norm_before_gate and group_size == size
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        y = x * F.silu(z)
        return y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps) * self.weight


def _rearrange(x: Tensor, pattern: str, **sizes: int) -> Tensor:
    """The three patterns of einops that Mamba2.forward uses here."""
    if pattern == "b l h p -> b l (h p)":
        return x.flatten(2)
    assert pattern in ("b l (h p) -> b l h p", "b l (g n) -> b l g n"), pattern
    return x.unflatten(-1, (-1, sizes["p"]) if "p" in sizes else (sizes["g"], -1))


def _combined(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, *, D: Tensor, dt_bias: Tensor, **rest: object
) -> Tensor:
    assert rest["dt_softplus"] is True and rest["z"] is None
    step = F.softplus(dt + dt_bias)
    return ssd_chunked(x, step, a, b[:, :, 0], c[:, :, 0], D)


@pytest.fixture
def their_mamba2(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[nn.Module]]:
    """mamba_ssm's own module from its source, with what needs CUDA replaced by the same sums in PyTorch."""

    def stub(name: str, **members: object) -> None:
        module = types.ModuleType(name)
        for key, value in members.items():
            setattr(module, key, value)
        monkeypatch.setitem(sys.modules, name, module)

    for package in ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.triton", "mamba_ssm.distributed"):
        stub(package, __path__=[])
    stub("causal_conv1d")
    stub("einops", rearrange=_rearrange, repeat=None)
    stub("huggingface_hub", PyTorchModelHubMixin=object)
    stub("mamba_ssm.ops.triton.selective_state_update", selective_state_update=None)
    stub("mamba_ssm.ops.triton.layernorm_gated", RMSNorm=_GatedNorm)
    stub("mamba_ssm.distributed.tensor_parallel", ColumnParallelLinear=None, RowParallelLinear=None)
    stub("mamba_ssm.distributed.distributed_utils", all_reduce=None, reduce_scatter=None)
    stub(
        "mamba_ssm.ops.triton.ssd_combined",
        mamba_chunk_scan_combined=_combined,
        mamba_split_conv1d_scan_combined=None,
    )
    spec = importlib.util.spec_from_file_location("their_mamba2", _source("mamba_ssm/modules/mamba2.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module.Mamba2


def test_names_shapes_row_order_and_result_are_those_of_mamba_ssms_own_module(
    their_mamba2: type[nn.Module],
) -> None:
    torch.manual_seed(4)
    ours = Mamba2(64)
    theirs = their_mamba2(d_model=64, d_state=16, d_conv=4, expand=2, headdim=32, use_mem_eff_path=False)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }
    for p in ours.parameters():
        p.data.add_(0.1 * torch.randn(p.shape))
    theirs.load_state_dict(ours.state_dict())
    u = torch.randn(2, 90, 64)
    with torch.no_grad():
        assert torch.allclose(ours(u), theirs(u), atol=1e-5)


@pytest.mark.skipif(
    not torch.cuda.is_available() or not forms._kernel(), reason="no CUDA kernel on this machine"
)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 2e-3), (torch.bfloat16, 2e-2)])
def test_the_kernel_agrees_with_the_chunks_on_a_gpu(dtype: torch.dtype, limit: float) -> None:
    inputs = _inputs(1024, device="cuda")
    truth = _forward_and_backward(ScanForm.CHUNKED, inputs)
    x, dt, a, b, c, d = inputs
    found = _forward_and_backward(ScanForm.KERNEL, [x.to(dtype), dt, a, b.to(dtype), c.to(dtype), d])
    for one, other in zip(found, truth, strict=True):
        assert float((one.float() - other).abs().max()) <= limit * max(1.0, float(other.abs().max()))


def test_the_oracle_works_in_double_precision() -> None:
    assert ssd_recurrence(*_inputs(3)).dtype is torch.float64
    assert scan(*_inputs(3), ScanForm.RECURRENCE).dtype is torch.float32
