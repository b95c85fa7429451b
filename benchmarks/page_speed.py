"""How long a browser takes to open a leaderboard page and to sort it, in milliseconds.

python benchmarks/page_speed.py PAGE.html [PAGE.html ...]. Wants selenium and Debian's chromium. Of
five openings and seven sorts the best and the median are printed: other work on the machine only
ever makes them longer.
"""

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from selenium import webdriver

OPENED = "return performance.getEntriesByType('navigation')[0].loadEventEnd"
SORTED = """
const done = arguments[0], scripts = [], frames = [];
const painted = () => new Promise((r) => requestAnimationFrame(() => setTimeout(r)));
(async () => {
  for (const name of ["overall", "name", "overall", "basic", "rank", "name", "overall"]) {
    const start = performance.now();
    document.querySelector(`th[data-col=${name}] .sort`).click();
    scripts.push(performance.now() - start);
    await painted();
    frames.push(performance.now() - start);
  }
  done([scripts, frames]);
})();
"""


def start_browser(profile: str) -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={profile}")
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_window_size(1280, 800)
    return driver


def main(*paths: str) -> None:
    with tempfile.TemporaryDirectory() as profile:
        driver = start_browser(profile)
        try:
            for path in map(Path, paths):
                opened: list[float] = []
                for _ in range(5):
                    driver.get("about:blank")
                    driver.get(path.resolve().as_uri())
                    opened.append(driver.execute_script(OPENED))
                scripts, frames = driver.execute_async_script(SORTED)
                named = (("open", opened), ("sort script", scripts), ("until painted", frames))
                shown = (f"{n} {min(of):.0f} / {statistics.median(of):.0f}" for n, of in named)
                rows = driver.execute_script(
                    "return document.querySelectorAll('#board [data-key]').length"
                )
                size_mb = path.stat().st_size / 1e6
                print(f"{path}: {size_mb:.2f} MB, {rows} rows; {', '.join(shown)}")
        finally:
            driver.quit()


if __name__ == "__main__":
    main(*sys.argv[1:])
