"""Layers that oneDNN has arranged, against those that they are made of."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from sentibench.fast.model import load_model  # noqa: E402
from sentibench.fast.packed import CLOSE, PackedLinear, PackedMLP, _multiplies, pack  # noqa: E402

DTYPES = [dtype for dtype in CLOSE if _multiplies(dtype)]
pytestmark = pytest.mark.skipif(not DTYPES, reason="this torch has no oneDNN")


class MLP(torch.nn.Module):
    """A gated MLP, or one that only looks like it."""

    def __init__(self, activation: torch.nn.Module, *, is_gated: bool = True) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.gate_proj = torch.nn.Linear(64, 96, bias=False)
        self.up_proj = torch.nn.Linear(64, 96)
        self.down_proj = torch.nn.Linear(96, 64, bias=False)
        self.act_fn, self.is_gated = activation, is_gated

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = self.act_fn(self.gate_proj(x)), self.up_proj(x)
        return self.down_proj(gate * up if self.is_gated else gate + up)


class Model(torch.nn.Module):
    """What `pack` asks of a model, around one module."""

    def __init__(self, part: torch.nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.part, self.head = part, torch.nn.Linear(64, 8)
        self.to(dtype)

    dtype = property(lambda self: self.head.weight.dtype)
    device = property(lambda self: self.head.weight.device)

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.part(x))


def gap_after_packing(model: Model) -> float:
    x_BTH = torch.randn(3, 400, 64).to(model.dtype)
    with torch.inference_mode():
        expected = model(x_BTH).float()
        pack(model)
        found = model(x_BTH).float()
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "activation",
    [torch.nn.SiLU(), torch.nn.GELU(), torch.nn.GELU(approximate="tanh")],
    ids=["silu", "gelu", "gelu_tanh"],
)
def test_a_gated_mlp_gives_what_it_gave(activation, dtype) -> None:
    model = Model(MLP(activation), dtype)
    gap = gap_after_packing(model)
    assert type(model.part) is PackedMLP
    assert gap < (1e-6 if dtype == torch.float32 else 1e-2)
    assert type(model.head) is torch.nn.Linear  # its weight may be that of the embeddings


@pytest.mark.parametrize(
    "part", [MLP(torch.nn.Mish()), MLP(torch.nn.SiLU(), is_gated=False)], ids=["mish", "sum"]
)
def test_another_module_keeps_its_own_formula(part) -> None:
    model = Model(part, torch.float32)
    assert gap_after_packing(model) < 1e-6
    assert type(model.part) is MLP
    assert type(model.part.up_proj) is PackedLinear


def test_a_model_of_another_dtype_stays_as_it_is() -> None:
    model = Model(MLP(torch.nn.SiLU()), torch.float64)
    assert gap_after_packing(model) == 0
    assert type(model.part.up_proj) is torch.nn.Linear


def test_a_model_with_an_adapter_stays_as_it_is() -> None:
    model = Model(MLP(torch.nn.SiLU()), torch.float32)
    model.peft_config = {}
    assert gap_after_packing(model) == 0
    assert type(model.part.up_proj) is torch.nn.Linear


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_checkpoint_is_packed_and_scores_as_lm_evals_own_code(tiny_folder, dtype) -> None:
    words = ["good", "bad", "so so"]
    pairs = [(f"text {n}: {word}", f" {label}") for n, word in enumerate(words) for label in words]
    lm = load_model(tiny_folder, dtype=str(dtype).removeprefix("torch."))
    plain = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=dtype)
    assert lm.uses_head_positions
    assert lm.writes_greedily
    assert type(lm.model.model.layers[0].mlp) is PackedMLP
    assert type(lm.model.model.layers[0].self_attn.q_proj) is PackedLinear
    assert lm.model.num_parameters() == plain.num_parameters()
    found = lm.log_likelihoods(pairs)
    lm._model = plain
    lm.uses_head_positions = False  # lm-eval's own code
    expected = lm.log_likelihoods(pairs)
    assert found == pytest.approx(expected, abs=1e-4 if dtype == torch.float32 else 0.2)
