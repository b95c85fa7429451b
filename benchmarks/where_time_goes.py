"""Where sentibench-hf spends its time on a label task: shares of operators, by torch's profiler.

python benchmarks/where_time_goes.py CHECKPOINT [TASK [ITEMS]], by default sentibench_sst2 32.
"""

import sys
from collections import Counter

from contestants import CPU, load, requests_of
from torch.profiler import ProfilerActivity, profile

GROUPS = {
    "matrix products": (  # the last one computes an MLP's activation and its product too
        *("aten::mm", "aten::addmm", "aten::_addmm_activation"),
        "mkldnn::_linear_pointwise",
    ),
    "attention": (
        *("aten::_scaled_dot_product", "aten::_flash_attention", "aten::_softmax", "aten::bmm"),
    ),
    "activation": ("aten::silu", "aten::gelu", "aten::tanh"),
    "products and sums of elements": (
        *("aten::mul", "aten::add", "aten::sub", "aten::neg", "aten::pow", "aten::mean"),
        *("aten::rsqrt", "aten::cat", "aten::div"),
    ),
}


def main(checkpoint: str, task: str = "sentibench_sst2", n_items: str = "32") -> None:
    requests = requests_of(task, int(n_items))
    model = load("sentibench-hf", checkpoint, "float32")
    model.loglikelihood(requests[:8], disable_tqdm=True)
    kinds = [ProfilerActivity.CPU, *([] if CPU else [ProfilerActivity.CUDA])]
    with profile(activities=kinds) as seen:
        model.loglikelihood(requests, disable_tqdm=True)
    spent: Counter[str] = Counter()
    for event in seen.key_averages():
        names = (n for n, starts in GROUPS.items() if event.key.startswith(starts))
        time = event.self_cpu_time_total if CPU else event.self_device_time_total
        spent[next(names, "everything else (tokenising, labels, copies)")] += time
    print("| | share |\n|---|---|")
    for name, time in spent.most_common():
        print(f"| {name} | {time / spent.total():.0%} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
