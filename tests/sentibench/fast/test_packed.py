"""Prepacked layers, against those that they are made of."""

import weakref
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from sentibench.fast import packed  # noqa: E402
from sentibench.fast.model import SentiBenchLM, load_model  # noqa: E402
from sentibench.fast.packed import TOLERANCE, PackedLinear, PackedMLP, multiplies, pack  # noqa: E402

DTYPES = [
    dtype for dtype in TOLERANCE if torch.backends.mkldnn.is_available() and multiplies(dtype)
]
pytestmark = pytest.mark.skipif(not DTYPES, reason="this torch has no oneDNN")
TIGHT = {torch.float32: 1e-6, torch.bfloat16: 1e-2}
SMALL = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2}


class MLP(torch.nn.Module):
    """A gated MLP."""

    def __init__(self, activation: torch.nn.Module) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.gate_proj = torch.nn.Linear(64, 96, bias=False)
        self.up_proj = torch.nn.Linear(64, 96)
        self.down_proj = torch.nn.Linear(96, 64, bias=False)
        self.act_fn = activation

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class SumMLP(MLP):
    """Has the names of a gated MLP, and another formula."""

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) + self.up_proj(x))


class PairMLP(MLP):
    """Takes and gives more than a gated MLP does."""

    def forward(self, x, scale):
        return super().forward(x * scale), scale


class WeightMLP(MLP):
    """Reads a weight by itself, as the models of Mamba do."""

    def forward(self, x):
        return super().forward(x) + x @ self.up_proj.weight.T @ self.gate_proj.weight


class OtherLinear(torch.nn.Linear):
    """As of a package for quantised models."""


class Model(torch.nn.Module):
    """What `pack` asks of a model, around one module."""

    def __init__(self, part: torch.nn.Module, dtype=torch.float32) -> None:
        super().__init__()
        self.part, self.head = part, torch.nn.Linear(64, 8)
        self.words = torch.nn.Embedding(60, 64)
        self.to(dtype)

    dtype = property(lambda self: self.head.weight.dtype)

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.head

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.words

    def forward(self, ids):
        x = self.words(ids)
        x = self.part(x, 0.5)[0] if isinstance(self.part, PairMLP) else self.part(x)
        return SimpleNamespace(logits=self.head(x))


def gap_after_packing(model: Model) -> float:
    ids_BT = torch.randint(60, (3, 400))
    with torch.inference_mode():
        expected = model(ids_BT).logits.float()
        pack(model)
        found = model(ids_BT).logits.float()
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "activation",
    [torch.nn.SiLU(), torch.nn.GELU(), torch.nn.GELU(approximate="tanh")],
    ids=["silu", "gelu", "gelu_tanh"],
)
def test_a_gated_mlp_gives_what_it_gave(activation, dtype) -> None:
    model = Model(MLP(activation), dtype)
    assert gap_after_packing(model) < TIGHT[dtype]
    assert type(model.part) is PackedMLP
    assert type(model.head) is torch.nn.Linear  # its weight may be that of the embeddings


@pytest.mark.parametrize(
    "part", [MLP(torch.nn.Mish()), SumMLP(torch.nn.SiLU()), PairMLP(torch.nn.SiLU())]
)
def test_a_module_with_another_formula_keeps_it(part) -> None:
    model = Model(part)
    assert gap_after_packing(model) < TIGHT[torch.float32]
    assert model.part is part
    assert type(part.up_proj) is PackedLinear


def test_a_model_that_reads_a_weight_by_itself_has_its_weights_back() -> None:
    model = Model(WeightMLP(torch.nn.SiLU()))
    weight = model.part.up_proj.weight.clone()
    assert gap_after_packing(model) == 0
    assert type(model.part.up_proj) is torch.nn.Linear
    assert torch.equal(model.part.up_proj.weight, weight)
    sizes = SMALL | {"state_size": 4, "intermediate_size": 64, "time_step_rank": 4}
    mamba = transformers.MambaForCausalLM(transformers.MambaConfig(**sizes)).eval()
    ids_BT = torch.arange(20)[None]
    with torch.inference_mode():
        before = mamba(ids_BT).logits
        pack(mamba)
        assert torch.equal(mamba(ids_BT).logits, before)


def test_a_model_that_gives_other_logits_afterwards_has_its_weights_back(monkeypatch) -> None:
    monkeypatch.setattr(PackedLinear, "times", lambda self, x, other: self(x) - other)
    monkeypatch.setattr(packed, "_packed_mlp", lambda m: PackedMLP(m, ("swish", [], "")))
    model = Model(torch.nn.Sequential(MLP(torch.nn.SiLU())))
    assert gap_after_packing(model) == 0
    assert type(model.part[0]) is MLP


def test_where_the_processor_refuses_a_layer_all_weights_come_back(monkeypatch) -> None:
    packed_before: list[object] = []

    class Refused(PackedLinear):
        def __init__(self, linear) -> None:
            super().__init__(linear)
            packed_before.append(linear)
            if len(packed_before) == 2:
                raise RuntimeError("could not create a primitive descriptor")

    monkeypatch.setattr(packed, "PackedLinear", Refused)
    model = Model(MLP(torch.nn.SiLU()))
    assert gap_after_packing(model) == 0
    assert len(packed_before) == 2
    assert all(type(getattr(model.part, f"{n}_proj")) is torch.nn.Linear for n in ("gate", "up"))


def test_what_cannot_be_packed_stays_as_it_is() -> None:
    hooked, odd, other = (Model(MLP(torch.nn.SiLU())) for _ in range(3))
    hooked.part.up_proj.register_forward_hook(lambda module, given, found: found * 2)
    odd.part.up_proj.forward = lambda x: torch.ones(*x.shape[:-1], 96)
    other.part.up_proj = OtherLinear(64, 96)
    for model in (hooked, odd, other):
        assert gap_after_packing(model) < TIGHT[torch.float32]
        assert type(model.part) is MLP
        assert type(model.part.up_proj) is not PackedLinear
        assert type(model.part.gate_proj) is PackedLinear


@pytest.mark.parametrize("dtype", DTYPES)
def test_tokens_whose_logits_are_rounding_alone_do_not_hinder_packing(dtype) -> None:
    """As the first tokens of a vocabulary may be: special ones, which text does not have."""
    model = Model(MLP(torch.nn.SiLU()), dtype)
    with torch.no_grad():
        states_TH = model.part(model.words.weight[:8]).float()
        away_from = torch.linalg.qr(states_TH.T).Q
        weight = model.head.weight.float()
        model.head.weight.copy_(weight - weight @ away_from @ away_from.T)
        model.head.bias.zero_()
    pack(model)
    assert type(model.part) is PackedMLP


@pytest.mark.parametrize("why", ["float64", "float16", "adapter", "quantised", "not here"])
def test_a_model_that_cannot_be_packed_stays_as_it_is(why: str) -> None:
    dtype = getattr(torch, why) if why.startswith("float") else torch.float32
    model = Model(MLP(torch.nn.SiLU()), dtype)
    if why == "adapter":
        model.peft_config = {}
    elif why == "quantised":
        model.config = SimpleNamespace(quantization_config={"bits": 4})
    elif why == "not here":
        model.words.weight = torch.nn.Parameter(torch.empty(60, 64, device="meta"))
    pack(model)
    assert type(model.part.up_proj) is torch.nn.Linear


def test_each_weight_is_packed_once_and_let_go(monkeypatch) -> None:
    parts = [MLP(torch.nn.SiLU()) for _ in range(3)]
    model = Model(torch.nn.Sequential(*parts))
    weights = [
        weakref.ref(layer.weight)
        for part in parts
        for layer in part.children()
        if layer is not part.act_fn
    ]
    alive: list[int] = []

    class Noted(PackedLinear):
        def __init__(self, linear) -> None:
            super().__init__(linear)
            alive.append(sum(weight() is not None for weight in weights))

    del parts
    monkeypatch.setattr(packed, "PackedLinear", Noted)
    pack(model)
    assert alive == list(range(9, 0, -1))


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


def test_a_model_that_is_given_and_one_of_mixed_precision_keep_their_weights(tiny_folder) -> None:
    given = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_folder)
    SentiBenchLM(pretrained=given, tokenizer=tokenizer, device="cpu")
    assert type(given.model.layers[0].mlp.up_proj) is torch.nn.Linear
    mixed = load_model(tiny_folder, dtype="float32", mixed_precision_dtype="bfloat16")
    assert type(mixed.model.model.layers[0].mlp.up_proj) is torch.nn.Linear
