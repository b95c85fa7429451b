"""What mkdocs does to a page before it is built.

Links to files outside docs/ work where the repository is looked at. On the site such a file is
named instead.
"""

import re

OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, **_) -> str:
    return OUTSIDE.sub(lambda link: f"{link[1]} (`{link[2].removeprefix('../')}`)", markdown)
