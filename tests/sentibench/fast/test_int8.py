"""Eight-bit layers against the layers that they are made of."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from sentibench.errors import InputError  # noqa: E402
from sentibench.fast.int8 import Int8Linear, quantise  # noqa: E402
from sentibench.fast.model import load_model  # noqa: E402


def layer(dtype=torch.bfloat16, bias: bool = True):
    torch.manual_seed(1)
    return torch.nn.Linear(64, 48, bias=bias).to(dtype)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_layer_gives_nearly_what_it_was_made_of(dtype, bias: bool) -> None:
    linear = layer(dtype, bias)
    x_BTI = torch.randn(3, 400, 64).to(dtype)
    with torch.inference_mode():
        expected, found = linear(x_BTI).float(), Int8Linear(linear)(x_BTI)
    assert (found.dtype, found.shape) == (dtype, (3, 400, 48))
    assert (found.float() - expected).norm() / expected.norm() < 0.015


def test_the_largest_value_keeps_its_sign() -> None:
    """In bfloat16 the largest value over its scale is 127.5 for some tokens: 128 would be -128."""
    linear = torch.nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    torch.nn.init.ones_(linear.weight)
    x_T1 = torch.linspace(1, 2, 129).to(torch.bfloat16)[:, None]
    with torch.inference_mode():
        assert torch.allclose(Int8Linear(linear)(x_T1), x_T1, rtol=0.02)


def test_a_token_does_not_depend_on_its_neighbours() -> None:
    quantised = Int8Linear(layer())
    rows_TI = torch.randn(30, 64).to(torch.bfloat16) * torch.logspace(-3, 3, 30)[:, None].bfloat16()
    rows_TI[7] = 0
    with torch.inference_mode():
        together = quantised(rows_TI)
        alone = torch.cat([quantised(row[None]) for row in rows_TI])
    assert torch.equal(together, alone)
    assert torch.equal(together[7], quantised.bias)


def test_a_model_of_int8_ranks_tokens_as_before(tiny_folder) -> None:
    pairs = [(f"text {n}: {word}", f" {label}") for n, word in enumerate(WORDS) for label in WORDS]
    plain, small = (load_model(tiny_folder, dtype=d) for d in ("bfloat16", "int8"))
    assert small.uses_head_positions
    assert small.writes_greedily
    assert isinstance(small.model.model.layers[0].mlp.down_proj, Int8Linear)
    assert not isinstance(small.model.lm_head, Int8Linear)
    told = [lm.get_model_info()["model_dtype"] for lm in (plain, small)]  # rows of their own
    assert list(map(str, told)) == ["torch.bfloat16", "int8"]
    assert small.model.num_parameters() == plain.model.num_parameters()
    a, b = (torch.tensor(lm.log_likelihoods(pairs)) for lm in (plain, small))
    assert 0 < (a - b).abs().max() < 0.5  # of log-likelihoods down to -14
    assert torch.corrcoef(torch.stack([a, b]))[0, 1] > 0.999
    one_by_one = [small.log_likelihoods([pair])[0] for pair in pairs[:8]]
    assert one_by_one == pytest.approx(b[:8].tolist(), abs=0.05)  # bfloat16 around the layers


WORDS = ("positive", "negative", "neutral")


def test_what_cannot_be_quantised_is_one_clear_error() -> None:
    config = transformers.GPT2Config(vocab_size=60, n_embd=32, n_layer=1, n_head=4)
    with pytest.raises(InputError, match=r"dtype=int8: .*got one without linear layers"):
        quantise(transformers.GPT2LMHeadModel(config))
    peft = pytest.importorskip("peft")
    sizes = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=4)
    )
    with pytest.raises(InputError, match="got one with an adapter; merge it first"):
        quantise(peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"])))
