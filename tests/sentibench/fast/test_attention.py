"""Attention in blocks, against torch's own."""

import gc
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from sentibench.fast import attention  # noqa: E402
from sentibench.fast.attention import NAME, QUERIES, attend_in_blocks, blocks_of  # noqa: E402
from sentibench.fast.model import load_model  # noqa: E402

SIZES = {"vocab_size": 90, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3}
SIZES |= {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8}
SIZES |= {"max_position_embeddings": 512, "initializer_range": 0.3}
LONG = 2 * QUERIES + 21


def make(family: str, dtype=torch.float32):
    torch.manual_seed(0)
    if family == "gpt2":  # every head has keys of its own
        sizes = {"vocab_size": 90, "n_embd": 48, "n_layer": 3, "n_head": 6, "n_positions": 512}
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes))
    elif family == "gemma3":  # layers that see a window, and layers that see all
        kinds = ["sliding_attention", "full_attention", "sliding_attention"]
        config = transformers.Gemma3TextConfig(
            **SIZES, sliding_window=20, layer_types=kinds, query_pre_attn_scalar=5
        )
        model = transformers.Gemma3ForCausalLM(config)
    else:
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES))
    return model.to(dtype).eval()


def logits(model, ids_BT, cache=None, **given):
    with torch.inference_mode():
        return model(ids_BT, past_key_values=cache, use_cache=cache is not None, **given).logits


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
@pytest.mark.parametrize("n_rows", [1, 3])
@pytest.mark.parametrize("n_before", [0, 1, 30])
def test_logits_are_those_of_torchs_own_attention(family, n_rows, n_before) -> None:
    model = make(family)
    ids_BT = torch.randint(90, (n_rows, n_before + LONG))

    def read() -> torch.Tensor:
        if not n_before:
            return logits(model, ids_BT)
        cache = transformers.DynamicCache(config=model.config)
        logits(model, ids_BT[:, :n_before], cache)
        return logits(model, ids_BT[:, n_before:], cache)

    expected = read()
    attend_in_blocks(model)
    if family != "gpt2":  # in transformers 5.0, its code asks for the name
        assert model.config._attn_implementation == NAME
    torch.testing.assert_close(read(), expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_padding_on_the_left_changes_no_row(family) -> None:
    model = make(family)
    attend_in_blocks(model)
    ids_BT = torch.randint(90, (3, LONG))
    mask_BT = torch.ones_like(ids_BT)
    for row, n in enumerate((0, 9, QUERIES + 30)):  # whole blocks that see nothing
        mask_BT[row, :n] = 0
    positions_BT = (mask_BT.cumsum(1) - 1).clamp_min(0)
    found = logits(model, ids_BT, attention_mask=mask_BT, position_ids=positions_BT)
    for row, n in enumerate((0, 9, QUERIES + 30)):
        alone = logits(model, ids_BT[row : row + 1, n:])
        torch.testing.assert_close(found[row, n:], alone[0], atol=2e-4, rtol=1e-4)
    assert not found.isnan().any()


def test_answers_are_those_of_torchs_own_attention() -> None:
    model = make("llama")
    given = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    ids_BT = torch.randint(90, (3, LONG))
    expected = model.generate(ids_BT, **given)
    attend_in_blocks(model)
    assert torch.equal(model.generate(ids_BT, **given), expected)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_in_bfloat16_logits_are_as_near_to_float32_as_torchs_own(family) -> None:
    ids_BT = torch.randint(90, (4, LONG))
    exact = logits(make(family), ids_BT)
    model = make(family, torch.bfloat16)
    theirs = (logits(model, ids_BT) - exact).abs().mean()
    attend_in_blocks(model)
    assert model.config._attn_implementation == NAME
    assert (logits(model, ids_BT) - exact).abs().mean() < 1.3 * theirs


def test_a_block_meets_only_the_keys_that_one_of_its_queries_sees() -> None:
    n_before, T = 10, QUERIES + 5
    causal = torch.ones(T, n_before + T, dtype=torch.bool).tril(n_before)
    first, last = blocks_of(causal[None, None].expand(3, 1, -1, -1), torch.float32)
    assert (first.queries, first.keys) == (slice(0, QUERIES), slice(0, n_before + QUERIES))
    assert (last.keys.start, last.keys.stop) == (0, n_before + T)
    # the first query sees itself and all before it: only keys behind it are not seen by some
    assert first.unsure == slice(n_before + 1, n_before + QUERIES)
    assert first.bias_BTK.shape == (1, QUERIES, QUERIES - 1)
    assert last.unsure == slice(n_before + QUERIES + 1, n_before + T)
    window = causal.triu(n_before - 6)  # itself and 6 before it
    _, last = blocks_of(window[None, None], torch.float32)
    assert (last.keys.start, last.keys.stop) == (n_before + QUERIES - 6, n_before + T)


def test_layers_share_the_blocks_of_a_mask_and_these_go_with_it(monkeypatch) -> None:
    found: list[int] = []
    cut = attention._cut
    monkeypatch.setattr(attention, "_cut", lambda *given: found.append(1) or cut(*given))
    model = make("gemma3")
    attend_in_blocks(model)
    found.clear()
    n_before = len(attention._known_blocks)
    logits(model, torch.randint(90, (2, LONG)))
    assert len(found) == 2  # of three layers: one mask of windows, one of all
    gc.collect()
    assert len(attention._known_blocks) <= n_before


def test_a_model_with_other_attention_keeps_it() -> None:
    eager = make("llama")
    eager.set_attn_implementation("eager")
    half = make("llama", torch.float16)  # how near is near enough is not known
    elsewhere = make("llama").to("meta")
    for model, name in ((eager, "eager"), (half, "sdpa"), (elsewhere, "sdpa")):
        attend_in_blocks(model)
        assert model.config._attn_implementation == name
    attend_in_blocks(torch.nn.Linear(2, 2))
    mixed = make("llama")
    mixed.model.config = transformers.LlamaConfig(**SIZES, attn_implementation="eager")
    attend_in_blocks(mixed)
    assert mixed.config._attn_implementation == "sdpa"
    assert mixed.model.config._attn_implementation == "eager"


def test_sparse_attention_that_asks_for_the_name_stays_sparse() -> None:
    torch.manual_seed(0)
    sizes = {"num_key_value_heads": 6, "q_lora_rank": 16, "kv_lora_rank": 16, "n_routed_experts": 4}
    sizes |= {"qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8, "index_topk": 16}
    sizes |= {"index_n_heads": 2, "index_head_dim": 16, "num_experts_per_tok": 2, "n_group": 1}
    sizes |= {"moe_intermediate_size": 16, "topk_group": 1, "n_shared_experts": 1}
    name = "GlmMoeDsa"
    if not hasattr(transformers, f"{name}Config"):
        pytest.skip("this version of transformers has no such model")
    config = getattr(transformers, f"{name}Config")(**SIZES | sizes)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    ids_BT = torch.randint(90, (1, 60))
    expected = logits(model, ids_BT)
    attend_in_blocks(model)
    torch.testing.assert_close(logits(model, ids_BT), expected)


class Asking(transformers.LlamaForCausalLM):
    """A model whose code, this file, has the name "sdpa"."""


def test_a_model_whose_code_asks_for_the_name_keeps_its_attention() -> None:
    model = Asking(transformers.LlamaConfig(**SIZES)).eval()
    attend_in_blocks(model)
    assert model.config._attn_implementation == "sdpa"


def test_an_adapter_around_a_model_does_not_hinder() -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(target_modules="all-linear", init_lora_weights=False)
    model = peft.get_peft_model(make("llama"), config).eval()
    ids_BT = torch.randint(90, (2, LONG))
    with torch.inference_mode():
        expected = model(ids_BT).logits
        attend_in_blocks(model)
        assert model.config._attn_implementation == NAME
        torch.testing.assert_close(model(ids_BT).logits, expected, atol=2e-4, rtol=1e-4)


def test_blocks_of_a_mask_are_those_of_the_asked_dtype() -> None:
    mask = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    mask[..., 2:, 0] = True  # the first two see nothing
    for dtype in (torch.float32, torch.bfloat16):
        (block,) = blocks_of(mask, dtype)
        assert block.bias_BTK.dtype == dtype
        assert block.bias_BTK.isfinite().all()


def test_where_later_blocks_are_wrong_a_few_tokens_tell(monkeypatch) -> None:
    cut = attention._cut

    def wrong(*given):
        first, *others = cut(*given)
        for block in others:
            block.bias_BTK.fill_(0)
        return [first, *others]

    monkeypatch.setattr(attention, "_cut", wrong)
    model = make("llama")
    attend_in_blocks(model)
    assert model.config._attn_implementation == "sdpa"


def test_a_model_that_gives_other_logits_afterwards_has_its_attention_back(monkeypatch) -> None:
    def wrong(*args, **kwargs):
        out, weights = attention.sdpa_attention_forward(*args, **kwargs)
        return out * 1.5, weights

    monkeypatch.setattr(attention, "_attend", wrong)
    model = make("llama")
    ids_BT = torch.randint(90, (2, LONG))
    expected = logits(model, ids_BT)
    attend_in_blocks(model)
    assert model.config._attn_implementation == "sdpa"
    assert torch.equal(logits(model, ids_BT), expected)


def test_what_it_does_not_know_is_left_to_torch() -> None:
    q, k, v = (torch.randn(2, n, 5, 8) for n in (6, 2, 2))
    module = SimpleNamespace(num_key_value_groups=3, is_causal=True)
    seen = torch.ones(2, 1, 5, 5, dtype=torch.bool).tril()
    expected, _ = attention.sdpa_attention_forward(module, q, k, v, seen)
    numbers = torch.zeros(2, 1, 5, 5).masked_fill(~seen, -torch.inf)
    per_head = seen.expand(-1, 6, -1, -1)
    for mask in (None, numbers, per_head, seen):
        found, _ = attention._attend(module, q, k, v, mask)
        torch.testing.assert_close(found, expected)


def test_a_checkpoint_is_loaded_with_attention_in_blocks(tiny_folder) -> None:
    assert load_model(tiny_folder, dtype="float32").model.config._attn_implementation == NAME
    mixed = load_model(tiny_folder, dtype="float32", mixed_precision_dtype="bfloat16")
    assert mixed.model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("family", ["llama", "gemma3"])
@pytest.mark.parametrize("mixed", [False, True])
def test_gradients_are_as_near_to_float32_as_those_of_torchs_own(family, mixed) -> None:
    model = make(family)
    ids_BT = torch.randint(90, (3, LONG))

    def gradient(rounds: bool) -> torch.Tensor:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=rounds):
            logits = model(ids_BT, use_cache=False).logits
        torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids_BT.flatten()).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    exact, of_torch = gradient(rounds=False), gradient(rounds=mixed)
    attend_in_blocks(model)
    assert model.config._attn_implementation == NAME
    found = gradient(rounds=mixed)
    assert not torch.equal(found, of_torch)  # it was computed in another way
    allowed = 1.5 * (of_torch - exact).norm() if mixed else 1e-4 * exact.norm()
    assert (found - exact).norm() < allowed


def test_within_autocast_products_have_its_dtype(monkeypatch) -> None:
    found = []
    compute = attention._in_blocks

    def looking(*given):
        out = compute(*given)
        found.append((given[0].dtype, given[1].dtype, given[2].dtype, out.dtype))
        return out

    model = make("llama")
    attend_in_blocks(model)
    monkeypatch.setattr(attention, "_in_blocks", looking)
    for rounds, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        with torch.autocast("cpu", torch.bfloat16, enabled=rounds):
            model(torch.randint(90, (2, 9)))
        assert {*found} == {(dtype,) * 4}
        del found[:]
