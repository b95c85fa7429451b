"""``sentibench serve`` against the bare forward pass: texts per second as a ratio, and latency.

The bare pass is one call of ``Classifier`` on all texts, with as many tokens in a batch as the
server has. The server is a process of its own; each client sends one text at a time, over one
connection, and waits for the answer. Every number of clients has eight texts a client at least:
where the task has fewer, they are repeated with a number in them, since equal texts are asked
about once. Clients and server share the machine, as the bare pass has it alone. Every round
measures all of them, so that what else the machine does falls on all; shown is the median over the
rounds. Processor time counts server and clients, and holds on a machine that is busy with other
work; give OMP_NUM_THREADS=1 there, since idle threads of a model wait busily.
"""

import argparse
import http.client
import itertools
import json
import shlex
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any

import psutil

from sentibench import Classifier
from sentibench.data.cards import task_named
from sentibench.data.read import load_split

CLIENTS = (1, 8, 32)
TEXTS_PER_CLIENT = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--task", default="mini_sst2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-tokens", type=int, default=1024, help="of server and bare pass")
    options = parser.parse_args()
    task = task_named(options.task, "--task")
    texts = enough([example.sentence for example in load_split(task, "test").examples])
    tokens = options.batch_tokens
    classifier = Classifier(options.checkpoint, task.name, batch_tokens=tokens)
    command = [sys.executable, "-m", "sentibench", "serve", options.checkpoint, "--port", "0"]
    command += ["--task", task.name, "--batch-tokens", str(tokens)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip().removeprefix("http://")
            print(f"python {shlex.join(sys.argv)}")
            report(classifier, psutil.Process(server.pid), address, texts, options.rounds)
        finally:
            server.terminate()


def enough(sentences: Sequence[str]) -> list[str]:
    """Texts that differ, as many as all clients need.

    The number stands behind the first word: what all texts of a call begin with is computed once.
    """
    numbered = (
        text.replace(" ", f" {number} ", 1) if number else text
        for number in itertools.count()
        for text in sentences
    )
    return list(itertools.islice(numbered, TEXTS_PER_CLIENT * max(CLIENTS)))


def report(
    classifier: Classifier, server: psutil.Process, address: str, texts: Sequence[str], rounds: int
) -> None:
    bare: list[tuple[float, float]] = []  # texts per second, and per second of a processor
    served: dict[int, list[tuple[float, float]]] = {clients: [] for clients in CLIENTS}
    latencies: dict[int, list[float]] = {clients: [] for clients in CLIENTS}
    largest = 0.0
    for number in range(1 + rounds):  # the first is not counted
        start = time.perf_counter(), processor_s(server)
        expected = classifier(texts)
        bare.append(rates(len(texts), start, server))
        for clients in CLIENTS:
            every = len(texts) // (TEXTS_PER_CLIENT * clients)  # spread, so of the same lengths
            start = time.perf_counter(), processor_s(server)
            answers = ask_all(address, texts[::every], clients)
            served[clients].append(rates(len(answers), start, server))
            latencies[clients] += [seconds for _, seconds in answers] if number else []
            for (answer, _), one in zip(answers, expected[::every], strict=True):
                assert answer["label"] == one.label
                pairs = zip(
                    answer["probabilities"].values(), one.probabilities.values(), strict=True
                )
                largest = max(largest, *(abs(p - q) for p, q in pairs))
    alone = statistics.median(rate for rate, _ in bare[1:])
    print(f"{len(texts)} texts, {rounds} rounds; bare: {alone:.1f} texts per second")
    print("| clients | texts per second | of the bare pass | by processor time | median | 95% |")
    print("|--:|--:|--:|--:|--:|--:|")
    for clients in CLIENTS:
        found = list(zip(served[clients][1:], bare[1:], strict=True))
        rate = statistics.median(one[0] for one, _ in found)
        by_clock, by_processor = (
            statistics.median(one[kind] / other[kind] for one, other in found) for kind in (0, 1)
        )
        cuts_s = statistics.quantiles(latencies[clients], n=20)
        print(
            f"| {clients} | {rate:.1f} | {by_clock:.0%} | {by_processor:.0%} | "
            f"{1000 * cuts_s[9]:.0f} ms | {1000 * cuts_s[18]:.0f} ms |"
        )
    print(f"same labels; largest difference of a probability: {largest:.1e}")


def processor_s(server: psutil.Process) -> float:
    """Seconds of processors that this process, with its clients, and the server have used."""
    used = server.cpu_times()
    return time.process_time() + used.user + used.system


def rates(n: int, start: tuple[float, float], server: psutil.Process) -> tuple[float, float]:
    return n / (time.perf_counter() - start[0]), n / (processor_s(server) - start[1])


def ask_all(address: str, texts: Sequence[str], clients: int) -> list[tuple[dict[str, Any], float]]:
    """Answer and seconds of every text, asked by so many clients at once."""
    todo: SimpleQueue[int] = SimpleQueue()
    for number in range(len(texts)):
        todo.put(number)
    answers: list[tuple[dict[str, Any], float]] = [({}, 0.0)] * len(texts)

    def run() -> None:
        connection = http.client.HTTPConnection(address)
        while True:
            try:
                number = todo.get_nowait()
            except Empty:
                break
            start = time.perf_counter()
            body = json.dumps({"text": texts[number]})
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/classify", body, headers)
            answer = json.load(connection.getresponse())["answers"][0]
            answers[number] = answer, time.perf_counter() - start
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


if __name__ == "__main__":
    main()
