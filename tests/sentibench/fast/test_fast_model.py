"""The fast model against lm-eval's own, on small random models of two families."""

import itertools
import math
import subprocess
import sys
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from lm_eval.models.huggingface import HFLM  # noqa: E402

from sentibench.data.cards import load_tasks  # noqa: E402
from sentibench.data.read import load_split  # noqa: E402
from sentibench.errors import InputError  # noqa: E402
from sentibench.fast import model as fast_model  # noqa: E402
from sentibench.fast.model import SentiBenchLM  # noqa: E402

SIZES = {"vocab_size": 600, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
SIZES |= {"max_position_embeddings": 512, "initializer_range": 0.3}


def sentences() -> list[str]:
    task = load_tasks()["sentibench_mini_sst2"]
    return [example.sentence for example in load_split(task, "test").examples]


@pytest.fixture(scope="module")
def tokenizer(train_tokenizer):
    texts = [*sentences(), *[" positive negative neutral"] * 50]
    return train_tokenizer(texts, 600, pad_token="</s>")


def make(family: str):
    torch.manual_seed(0)
    if family == "qwen3_moe":  # its last layer's experts choose by position
        sizes = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
        return transformers.Qwen3MoeForCausalLM(
            transformers.Qwen3MoeConfig(**SIZES, **sizes)
        ).eval()
    if family == "gpt2":  # absolute positions, layers of another name
        config = transformers.GPT2Config(
            vocab_size=600, n_embd=32, n_layer=3, n_head=4, n_positions=512
        )
        return transformers.GPT2LMHeadModel(config).eval()
    if family == "gemma3":  # a sliding window shorter than the prompts
        config = transformers.Gemma3TextConfig(**SIZES, sliding_window=16)
        return transformers.Gemma3ForCausalLM(config).eval()
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)).eval()


def requests():
    instruction = "Say whether the text is positive, negative or neutral about its object.\n\n"
    labels = (" positive", " negative", " neutral", " hard to say")  # the last has several tokens
    known = sentences()
    texts = [f"{instruction}{' '.join(known[: i % 3])} {s}\n" for i, s in enumerate(known)]
    texts += ["Another task.\n", "Label: ", "one more text"]
    return [SimpleNamespace(args=(t, label), task_name="t") for t in texts for label in labels]


@pytest.mark.parametrize("family", ["llama", "gemma3", "qwen3_moe", "gpt2"])
@pytest.mark.parametrize("batch_tokens", [64, 2_000])
def test_log_likelihoods_and_greedy_flags_are_those_of_hf(family, batch_tokens, tokenizer) -> None:
    model = make(family)
    common = {"pretrained": model, "tokenizer": tokenizer, "device": "cpu", "max_length": 256}
    expected = HFLM(**common, batch_size=4).loglikelihood(requests(), disable_tqdm=True)
    fast = SentiBenchLM(**common, batch_tokens=batch_tokens)
    found = fast.loglikelihood(requests(), disable_tqdm=True)
    assert [g for _, g in found] == [g for _, g in expected]
    assert [x for x, _ in found] == pytest.approx([x for x, _ in expected], abs=1e-4)
    assert len({round(x, 3) for x, _ in found}) > 20  # the model tells the texts apart


def test_the_shared_beginning_goes_through_the_model_once(tokenizer) -> None:
    fast = SentiBenchLM(
        pretrained=make("llama"), tokenizer=tokenizer, device="cpu", batch_tokens=64
    )
    one = [r for r in requests() if r.args[1] == " positive" and r.args[0].startswith("Say")]
    fast.loglikelihood(one, disable_tqdm=True)
    lengths = [len(tokenizer(request.args[0])["input_ids"]) for request in one]
    instruction = len(
        tokenizer("Say whether the text is positive, negative or neutral")["input_ids"]
    )
    assert fast.tokens_computed < sum(lengths) - (len(one) - 2) * instruction + 64
    begin = one[0].args[0].partition("\n\n")[0]
    texts = [f"{begin}\n\n{7919 * n} {text}\n" for n, text in enumerate(sentences() * 5)]
    many = [SimpleNamespace(args=(text, " positive")) for text in texts]
    assert len(many) > 3 * fast_model.HEAD_PROMPTS
    fast.batch_tokens, fast.tokens_computed = 1_000_000, 0  # a group holds one batch, or few
    seen: list[tuple[int, ...]] = []
    forward = fast._forward
    fast._forward = lambda ids, *a, **k: seen.append(tuple(ids.shape)) or forward(ids, *a, **k)
    fast.loglikelihood(many, disable_tqdm=True)
    fast.batch_tokens = 400
    fast.loglikelihood(many, disable_tqdm=True)
    assert sum(rows == 1 for rows, _ in seen) == 2  # the beginning, once for each call
    assert len(seen) > 10


def test_one_head_reads_several_batches(tokenizer, monkeypatch) -> None:
    common = {"pretrained": make("llama"), "tokenizer": tokenizer, "device": "cpu"}
    fast = SentiBenchLM(**common, batch_tokens=64)
    counts: dict[str, list[int]] = {"batches": [], "head": []}
    model = fast.model
    model.model.embed_tokens.register_forward_hook(lambda *_: counts["batches"].append(1))
    model.lm_head.register_forward_hook(lambda _m, x, _y: counts["head"].append(x[0].shape[1]))
    found = fast.loglikelihood(requests(), disable_tqdm=True)
    computed = [n for n in counts["head"] if n]
    assert len(computed) * 3 < len(counts["batches"]) == len(counts["head"])
    monkeypatch.setattr(fast_model, "HEAD_BATCHES", 1)
    counts["head"].clear()
    one_by_one = fast.loglikelihood(requests(), disable_tqdm=True)
    assert len([n for n in counts["head"] if n]) > 3 * len(computed)
    assert [x for x, _ in found] == pytest.approx([x for x, _ in one_by_one], abs=1e-4)


@pytest.mark.parametrize("where", ["in the model", "between two batches"])
def test_a_broken_call_leaves_nothing_for_the_next_one(where, tokenizer, monkeypatch) -> None:
    common = {"pretrained": make("llama"), "tokenizer": tokenizer, "device": "cpu"}
    fast = SentiBenchLM(**common, batch_tokens=64)
    expected = fast.loglikelihood(requests(), disable_tqdm=True)
    seen: list[int] = []
    owner, name = {
        "in the model": (fast.model.lm_head, "forward"),
        "between two batches": (fast_model.DynamicCache, "batch_repeat_interleave"),
    }[where]
    done = getattr(owner, name)

    def fail(*given):
        seen.append(1)
        if len(seen) == 6:
            raise RuntimeError("out of memory")
        return done(*given)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            fast.loglikelihood(requests(), disable_tqdm=True)
    chosen = requests()[-3:]  # of one batch
    plain = SentiBenchLM(**common, batch_tokens=64)
    assert fast.loglikelihood(chosen, True) == plain.loglikelihood(chosen, True)
    assert fast.loglikelihood(requests(), disable_tqdm=True) == expected


def test_known_pairs_are_left_out_by_groups_and_the_others_stay_the_same(tokenizer) -> None:
    common = {"pretrained": make("llama"), "tokenizer": tokenizer, "device": "cpu"}
    fast = SentiBenchLM(**common, batch_tokens=64)
    pairs = [request.args for request in requests()]
    whole = fast.log_likelihoods(pairs)
    n_whole, fast.tokens_computed = fast.tokens_computed, 0
    known = {pair for pair in pairs if pair[0].startswith("Say")}
    part = fast.log_likelihoods(pairs, known)
    assert fast.tokens_computed < n_whole / 2
    left_out = [pair for pair, score in zip(pairs, part, strict=True) if math.isnan(score)]
    assert set(left_out) <= known
    assert len(left_out) > len(known) / 2
    pairs_of = zip(whole, part, strict=True)
    assert all(a == b for a, b in pairs_of if not math.isnan(b))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_softmax_of_few_digits_is_as_exact_as_that_of_hf(dtype, tokenizer) -> None:
    common = {"pretrained": make("llama"), "tokenizer": tokenizer, "device": "cpu"}
    exact = [x for x, _ in SentiBenchLM(**common).loglikelihood(requests(), True)]
    gaps = {}
    for kind in (HFLM, SentiBenchLM):
        found = kind(**common, softmax_dtype=dtype).loglikelihood(requests(), True)
        gaps[kind] = sum(abs(x - y) for (x, _), y in zip(found, exact, strict=True))
    assert 0 < gaps[SentiBenchLM] < 0.6 * gaps[HFLM]


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_a_kept_beginning_saves_tokens_and_changes_no_answer(family, tokenizer) -> None:
    common = {"pretrained": make(family), "tokenizer": tokenizer, "device": "cpu"}
    expected = HFLM(**common, batch_size=4).loglikelihood(requests(), disable_tqdm=True)
    fast = SentiBenchLM(**common)
    prompts = list(dict.fromkeys(request.args[0] for request in requests()))
    fast.keep_beginning(prompts[:2])
    before = fast.tokens_computed
    found = [fast.loglikelihood([request], disable_tqdm=True)[0] for request in requests()]
    assert [g for _, g in found] == [g for _, g in expected]
    assert [x for x, _ in found] == pytest.approx([x for x, _ in expected], abs=1e-4)
    plain = SentiBenchLM(**common)
    for request in requests():
        plain.loglikelihood([request], disable_tqdm=True)
    instruction = len(
        tokenizer("Say whether the text is positive, negative or neutral")["input_ids"]
    )
    n_begun = sum(r.args[0].startswith("Say") for r in requests())
    saved = plain.tokens_computed - (fast.tokens_computed - before)
    assert n_begun > 90
    assert saved >= n_begun * instruction


def test_many_prompts_use_a_kept_beginning_to_the_last_digit(tokenizer) -> None:
    common = {"pretrained": make("llama"), "tokenizer": tokenizer, "device": "cpu"}
    chosen = [r for r in requests() if r.args[0].startswith("Say")]
    fast, plain = SentiBenchLM(**common), SentiBenchLM(**common)
    fast.keep_beginning([request.args[0] for request in chosen])
    before = fast.tokens_computed
    found = fast.loglikelihood(chosen, disable_tqdm=True)
    assert found == plain.loglikelihood(chosen, disable_tqdm=True)
    assert fast.tokens_computed - before < plain.tokens_computed


def test_results_say_how_much_memory_the_evaluation_took(tokenizer) -> None:
    fast = SentiBenchLM(pretrained=make("llama"), tokenizer=tokenizer, device="cpu")
    info = fast.get_model_info()
    assert info["model_num_parameters"] == sum(p.numel() for p in fast.model.parameters())
    assert 2**26 < info["peak_memory_bytes"] < 2**37  # this process: more than 64 MB


def test_prompts_too_long_for_the_model_are_cut_on_the_left_as_by_hf(tokenizer) -> None:
    common = {
        "pretrained": make("llama"),
        "tokenizer": tokenizer,
        "device": "cpu",
        "max_length": 40,
    }
    expected = HFLM(**common, batch_size=2).loglikelihood(requests(), disable_tqdm=True)
    found = SentiBenchLM(**common).loglikelihood(requests(), disable_tqdm=True)
    assert [x for x, _ in found] == pytest.approx([x for x, _ in expected], abs=1e-4)


def test_long_continuations_alone_go_to_the_code_of_hf(tokenizer) -> None:
    common = {"pretrained": make("llama"), "tokenizer": tokenizer, "device": "cpu"}
    long = [SimpleNamespace(args=("A text.", " very" * 40), task_name="t")]
    fast = SentiBenchLM(**common)
    expected = HFLM(**common).loglikelihood(long, disable_tqdm=True)
    assert fast.loglikelihood(long, disable_tqdm=True) == expected
    assert fast.tokens_computed == 0
    mixed = [*requests()[:3], *long, *requests()[3:5]]
    found = fast.loglikelihood(mixed, disable_tqdm=True)
    expected = HFLM(**common).loglikelihood(mixed, disable_tqdm=True)
    assert [x for x, _ in found] == pytest.approx([x for x, _ in expected], abs=1e-4)
    assert fast.tokens_computed > 0


def test_prompts_cut_on_the_left_are_reported_once(tokenizer, monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(fast_model.log, "warning", said.append)
    fast = SentiBenchLM(pretrained=make("llama"), tokenizer=tokenizer, device="cpu", max_length=40)
    fast.loglikelihood(requests(), disable_tqdm=True)
    assert len(said) == 1
    assert "cut on the left to the 40" in said[0]


def test_keys_and_values_are_held_for_as_many_positions_as_memory_has_room(
    tokenizer, monkeypatch
) -> None:
    common = {"pretrained": make("llama"), "tokenizer": tokenizer, "device": "cpu"}
    fast = SentiBenchLM(**common, max_length=128)
    # 3 layers, keys and values, 2 heads of 8 float32 numbers
    config = common["pretrained"].config
    heads = config.num_key_value_heads * config.head_dim
    assert fast.bytes_per_token == config.num_hidden_layers * 2 * heads * 4
    assert fast.pool_tokens() == fast_model.POOL * fast.batch_tokens
    asked = prompts({"until": ["e"], "max_gen_toks": 8, "do_sample": False})
    expected = fast.generate_until(asked, disable_tqdm=True)
    monkeypatch.setattr(fast_model, "_free_bytes", lambda _: 8 * fast.bytes_per_token * 200)
    assert fast.pool_tokens() == 200
    rows: list[int] = []
    forward = fast._forward
    monkeypatch.setattr(
        fast, "_forward", lambda ids, *a, **k: [rows.append(len(ids)), forward(ids, *a, **k)][1]
    )
    assert fast.generate_until(asked, disable_tqdm=True) == expected
    assert max(rows) <= 200 // 20


def prompts(kwargs):
    texts = dict.fromkeys(request.args[0] for request in requests())
    return [SimpleNamespace(args=(text, dict(kwargs)), task_name="t") for text in texts]


@pytest.mark.parametrize("family", ["llama", "gemma3", "qwen3_moe", "gpt2"])
@pytest.mark.parametrize("batch_tokens", [64, 2_000])
def test_answers_are_those_of_hf_whatever_the_pool_holds(family, batch_tokens, tokenizer) -> None:
    common = {"pretrained": make(family), "tokenizer": tokenizer, "device": "cpu"}
    asked = prompts({"until": ["e", " negative"], "max_gen_toks": 24, "do_sample": False})
    asked += prompts({"until": [], "max_gen_toks": 3})  # another group, and no stop string
    expected = HFLM(**common, max_length=64, batch_size=1).generate_until(asked, disable_tqdm=True)
    fast = SentiBenchLM(**common, max_length=64, batch_tokens=batch_tokens)
    assert fast.generate_until(asked, disable_tqdm=True) == expected
    assert fast.tokens_computed > 0
    assert len({len(text) for text in expected}) > 4  # answers end at different steps


def test_answers_end_at_their_own_stop_string(tokenizer) -> None:
    fast = SentiBenchLM(pretrained=make("llama"), tokenizer=tokenizer, device="cpu")
    long, short = (prompts({"until": until, "max_gen_toks": 60}) for until in ([], ["e", "a"]))
    fast.generate_until(short, disable_tqdm=True)
    n_short, fast.tokens_computed = fast.tokens_computed, 0
    fast.generate_until(long, disable_tqdm=True)
    assert fast.tokens_computed > n_short + 30 * len(long)


def test_a_finished_answer_makes_room_for_a_waiting_prompt(tokenizer) -> None:
    fast = SentiBenchLM(
        pretrained=make("llama"), tokenizer=tokenizer, device="cpu", batch_tokens=80
    )
    sizes = []
    forward = fast._forward
    fast._forward = lambda ids, *a, **k: sizes.append(tuple(ids.shape)) or forward(ids, *a, **k)
    asked = prompts({"until": ["e", "a"], "max_gen_toks": 60})
    fast.generate_until(asked, disable_tqdm=True)
    steps = [rows for rows, n_tokens in sizes if n_tokens == 1]
    assert max(steps) < len(asked)  # the pool was too small for all
    grown = [b > a for a, b in itertools.pairwise(steps)]
    assert any(grown)


def adapted(folder, tokenizer, config):
    """A checkpoint folder and the folder of an adapter with random weights."""
    from peft import get_peft_model

    make("llama").save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    model = get_peft_model(make("llama"), config)
    torch.manual_seed(5)
    for name, weight in model.named_parameters():
        if "lora_B" in name or "prompt" in name:
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder / "adapter")
    return {"pretrained": str(folder / "base"), "device": "cpu", "dtype": "float32"}


@pytest.mark.parametrize("modules", ["all-linear", ["lm_head", "down_proj", "q_proj"]])
def test_adapters_are_applied_as_by_hf(modules, tokenizer, tmp_path) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(target_modules=modules, task_type="CAUSAL_LM")
    common = adapted(tmp_path, tokenizer, config)
    bare = SentiBenchLM(**common).loglikelihood(requests(), disable_tqdm=True)
    common["peft"] = str(tmp_path / "adapter")
    expected = HFLM(**common, batch_size=4).loglikelihood(requests(), disable_tqdm=True)
    fast = SentiBenchLM(**common)
    found = fast.loglikelihood(requests(), disable_tqdm=True)
    assert [x for x, _ in found] == pytest.approx([x for x, _ in expected], abs=1e-4)
    assert max(abs(x - y) for (x, _), (y, _) in zip(found, bare, strict=True)) > 0.1
    assert fast.tokens_computed > 0


@pytest.mark.parametrize("modules", ["all-linear", ["lm_head", "down_proj"]])
def test_an_adapter_put_in_the_place_of_another_answers_as_if_loaded(
    modules, tokenizer, tmp_path
) -> None:
    peft = pytest.importorskip("peft")
    first = peft.LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")
    second = peft.LoraConfig(target_modules=modules, task_type="CAUSAL_LM", r=4)
    common = adapted(tmp_path / "1", tokenizer, first)
    adapted(tmp_path / "2", tokenizer, second)
    folders = [str(tmp_path / n / "adapter") for n in "12"]
    alone = [SentiBenchLM(**common, peft=folder) for folder in folders]
    expected = [model.loglikelihood(requests(), disable_tqdm=True) for model in alone]
    switched = SentiBenchLM(**common, peft=folders[0])
    switched.loglikelihood(requests(), disable_tqdm=True)
    if not switched.use_adapter(folders[1]):
        assert "lm_head" in modules  # the head that is looked for is another one now
        return
    assert switched.loglikelihood(requests(), disable_tqdm=True) == expected[1]
    assert expected[0] != expected[1]
    assert switched.use_adapter(folders[0])
    assert switched.loglikelihood(requests(), disable_tqdm=True) == expected[0]


def test_an_adapter_with_prompts_of_its_own_goes_to_the_code_of_hf(tokenizer, tmp_path) -> None:
    peft = pytest.importorskip("peft")
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    common = adapted(tmp_path, tokenizer, config) | {"peft": str(tmp_path / "adapter")}
    assert not SentiBenchLM(**common).uses_head_positions


@pytest.mark.parametrize(
    "kwargs", [{"do_sample": True, "temperature": 0.7}, {"repetition_penalty": 1.2}]
)
def test_whatever_is_not_plain_greedy_goes_to_the_code_of_hf(kwargs, tokenizer) -> None:
    fast = SentiBenchLM(pretrained=make("llama"), tokenizer=tokenizer, device="cpu")
    fast.generate_until(prompts({"until": ["e"], "max_gen_toks": 4} | kwargs)[:2], True)
    assert fast.tokens_computed == 0


def test_a_checkpoint_with_its_own_generation_rules_goes_to_the_code_of_hf(tokenizer) -> None:
    model = make("llama")
    model.generation_config.repetition_penalty = 1.3
    fast = SentiBenchLM(pretrained=model, tokenizer=tokenizer, device="cpu")
    fast.generate_until(prompts({"until": ["e"], "max_gen_toks": 4})[:2], True)
    assert fast.tokens_computed == 0


def test_absolute_positions_end_where_the_model_does(tokenizer) -> None:
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=600, n_embd=32, n_layer=3, n_head=4, n_positions=64)
    model = transformers.GPT2LMHeadModel(config).eval()
    common = {"pretrained": model, "tokenizer": tokenizer, "device": "cpu", "max_length": 64}
    asked = prompts({"until": ["e"], "max_gen_toks": 24})
    expected = HFLM(**common, batch_size=1).generate_until(asked, disable_tqdm=True)
    fast = SentiBenchLM(**common, batch_tokens=64)
    assert fast.generate_until(asked, disable_tqdm=True) == expected
    assert fast.tokens_computed > 0


def test_a_stop_string_may_be_a_special_token(tokenizer) -> None:
    common = {"pretrained": make("llama"), "tokenizer": tokenizer, "device": "cpu"}
    asked = prompts({"until": ["<s>"], "max_gen_toks": 40})
    expected = HFLM(**common, batch_size=1).generate_until(asked, disable_tqdm=True)
    assert SentiBenchLM(**common).generate_until(asked, disable_tqdm=True) == expected


@pytest.mark.parametrize("key", ["repetition_penalty", "max_new_tokens"])
def test_generation_rules_of_a_checkpoint_are_those_of_hf(key, tokenizer) -> None:
    model = make("llama")
    setattr(model.generation_config, key, 2)
    fast = SentiBenchLM(pretrained=model, tokenizer=tokenizer, device="cpu")
    assert fast.uses_head_positions
    assert not fast.writes_greedily


def test_a_decoder_that_computes_something_else_goes_to_the_code_of_hf(
    tokenizer, monkeypatch
) -> None:
    monkeypatch.setattr(transformers.DynamicCache, "batch_repeat_interleave", lambda *_: None)
    fast = SentiBenchLM(pretrained=make("llama"), tokenizer=tokenizer, device="cpu")
    assert not fast.uses_head_positions


def test_experts_that_return_more_than_states_are_left_alone(tokenizer) -> None:
    torch.manual_seed(0)
    sizes = {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 16}
    model = transformers.GptOssForCausalLM(transformers.GptOssConfig(**SIZES, **sizes)).eval()
    common = {"pretrained": model, "tokenizer": tokenizer, "device": "cpu", "max_length": 256}
    expected = HFLM(**common, batch_size=4).loglikelihood(requests(), disable_tqdm=True)
    fast = SentiBenchLM(**common)
    found = fast.loglikelihood(requests(), disable_tqdm=True)
    assert [x for x, _ in found] == pytest.approx([x for x, _ in expected], abs=1e-3)
    assert fast.tokens_computed > 0


def test_positions_that_rotate_by_length_go_to_the_code_of_hf(tokenizer) -> None:
    model = make("llama")
    model.config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    assert not SentiBenchLM(pretrained=model, tokenizer=tokenizer, device="cpu").uses_head_positions


@pytest.mark.parametrize(
    ("multiplies", "expected"), [(True, torch.bfloat16), (False, torch.float32)]
)
def test_auto_on_a_cpu_is_what_it_multiplies_and_says_so(
    multiplies, expected, checkpoint, monkeypatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: multiplies)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    told = []
    monkeypatch.setattr(fast_model.log, "warning", lambda message, *given: told.append(given))
    found = SentiBenchLM(pretrained=str(checkpoint), device="cpu")
    assert found.model.dtype == expected
    assert told == [(str(expected).removeprefix("torch."),)]
    given = SentiBenchLM(pretrained=str(checkpoint), device="cpu", dtype="float32")
    assert given.model.dtype == torch.float32
    assert len(told) == 1


def test_nothing_asked_is_nothing_answered(tokenizer) -> None:
    fast = SentiBenchLM(pretrained=make("llama"), tokenizer=tokenizer, device="cpu")
    assert fast.loglikelihood([]) == fast.generate_until([]) == []


def test_batch_tokens_must_be_a_positive_number() -> None:
    with pytest.raises(InputError, match="batch_tokens: got 0, expected a positive whole number"):
        SentiBenchLM(pretrained="x", batch_tokens=0)


def test_plain_lm_eval_knows_the_name_and_loads_the_module_only_when_asked() -> None:
    show = (
        "import sys, lm_eval.models; from lm_eval.api.registry import get_model;"
        "print('sentibench.fast.model' in sys.modules, get_model('sentibench-hf').__name__)"
    )
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "SentiBenchLM"], done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"pretrained": "missing/folder"},
            "pretrained=missing/folder: cannot be loaded; expected a folder ",
        ),
        ({"pretrained": "{folder}"}, "name; got Unrecognized model"),
        (
            {"pretrained": "{folder}", "dtype": "flot32"},
            "--model_args dtype=flot32: not known to this model or to torch",
        ),
        ({"pretrained": "./nowhere"}, "--model_args pretrained=nowhere: no such file"),
        ({"pretrained": "{folder}", "dtyp": "float32"}, "--model_args dtyp=float32: not known"),
        ({"pretrained": "{folder}", "damaged": "1"}, "Error while deserializing"),
        ({}, "--model_args: no pretrained=NAME"),
    ],
)
def test_what_cannot_be_loaded_is_a_mistake_of_the_user(
    arguments, message: str, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    given = {key: value.format(folder=tmp_path) for key, value in arguments.items()}
    if len(given) == 2:
        make("llama").save_pretrained(tmp_path)
        monkeypatch.setattr(fast_model.HFLM, "_create_tokenizer", lambda *_, **__: None)
    if given.pop("damaged", None):
        (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError) as caught:
        SentiBenchLM.create_from_arg_obj(given, {"device": "cpu"})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bug_while_loading_keeps_its_traceback(monkeypatch) -> None:
    monkeypatch.setattr(fast_model.HFLM, "__init__", lambda *_, **__: {}.nothing)
    with pytest.raises(AttributeError):
        SentiBenchLM.create_from_arg_obj({"pretrained": "x"})
