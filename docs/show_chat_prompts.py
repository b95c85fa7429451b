"""Print what a chat model is sent: python docs/show_chat_prompts.py CHECKPOINT [TASK]."""

import sys

from transformers import AutoTokenizer

from sentibench.harness import task_manager

NO_SYSTEM_ROLE = (
    "{% for m in messages %}{% if m['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def main(checkpoint: str, name: str = "sentibench_mini_sst2") -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    manager = task_manager()

    def render(messages, template=None, **kwargs):
        return tokenizer.apply_chat_template(
            messages, tokenize=False, chat_template=template, **kwargs
        )

    def render_like_lm_eval(messages, **kwargs):
        """HFLM drops the system message where the template refuses it."""
        users = [m for m in messages if m["role"] != "system"]
        return render(users, template=NO_SYSTEM_ROLE, **kwargs)

    for title, template in (
        ("its own template", render),
        ("no system role", render_like_lm_eval),
    ):
        for multiturn in (True, False):
            task = manager.load([name])["tasks"][name]
            task.set_config(key="num_fewshot", value=1)
            task.build_all_requests(
                limit=1,
                apply_chat_template=True,
                fewshot_as_multiturn=multiturn,
                chat_template=template,
            )
            print(f"## {title}, fewshot_as_multiturn={multiturn}\n\n```")
            print(task.instances[0].args[0] + "\n```\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
