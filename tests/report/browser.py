"""A real browser for the tests of pages: what it makes of a page on a desk and on a phone."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)

needs_browser = pytest.mark.skipif(
    BROWSER is None, reason=f"none of {', '.join(NAMES)} is on the PATH to open the page with"
)

# Runs in a page around the page, which stands in a frame of the wanted width. Its result is the
# outer page's title: the one thing that `--dump-dom` gives back without a driver. Two labels
# overlap where their boxes share more than a hair; a label is cut where it leaves its figure.
PROBE = """
const wrong = [];
addEventListener('error', e => wrong.push(e.message));
addEventListener('load', () => {
  const frame = document.querySelector('iframe'), page = frame.contentDocument;
  const box = e => e.getBoundingClientRect();
  const figures = [...page.querySelectorAll('figure svg')].map(svg => {
    const own = box(svg);
    const labels = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim());
    const boxes = labels.map(t => [t.textContent.trim(), box(t)]);
    const overlaps = [], cut = [];
    boxes.forEach(([name, a], i) => {
      if (a.left < own.left - 2 || a.right > own.right + 2 || a.top < own.top - 2
          || a.bottom > own.bottom + 2) cut.push(name);
      boxes.slice(i + 1).forEach(([other, b]) => {
        if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
            && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3)
          overlaps.push([name, other]);
      });
    });
    const letters = boxes.map(([, b]) => b.height);
    return {label: svg.getAttribute('aria-label'), width: own.width, height: own.height,
            overlaps, cut, letters: Math.min(...letters)};
  });
  const lead = page.querySelector('.lead p');
  document.title = JSON.stringify({
    wrong, figures, wide: page.documentElement.scrollWidth, screen: frame.clientWidth,
    verdict: lead.textContent, at: box(lead).bottom, size: box(lead).width,
    tables: [...page.querySelectorAll('table')].map(t => [box(t).width, box(t).height]),
    ground: getComputedStyle(page.body).backgroundColor, ink: getComputedStyle(page.body).color,
  });
});
"""


def opened(text: str, folder: Path, *, width: int, dark: bool = False) -> dict[str, Any]:
    """What a browser makes of a page.

    Args:
        text: The page.
        folder: Where the browser may leave its files.
        width: Of the screen, in pixels.
        dark: Whether the reader likes it dark.

    Returns:
        What went `wrong`; how `wide` the page is on its `screen`; the `verdict`, its `size` and
        how far down it reaches (`at`); sizes of `tables`; the `ground` and the `ink`; and
        of `figures` width, height, `overlaps` and `cut` labels, and the least height of `letters`.
    """
    assert BROWSER is not None
    outer = folder / "frame.html"
    outer.write_text(
        f"<!doctype html><meta charset=utf-8><title>no answer</title><script>{PROBE}</script>"
        f'<iframe width={width} height=900 srcdoc="{html.escape(text)}"></iframe>',
        encoding="utf-8",
    )
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    if dark:
        command.append("--blink-settings=preferredColorScheme=0")
    command += [f"--window-size={max(width + 40, 500)},1000", f"--user-data-dir={folder / 'user'}"]
    found = subprocess.run(
        [*command, "--dump-dom", outer.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    title = found.stdout.split("<title>")[1].split("</title>")[0]
    said: dict[str, Any] = json.loads(html.unescape(title))
    return said


def printed(text: str, folder: Path) -> int:
    """How many sheets of paper a page takes.

    Args:
        text: The page.
        folder: Where the browser may leave its files.
    """
    assert BROWSER is not None
    page, paper = folder / "page.html", folder / "page.pdf"
    page.write_text(text, encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    command += [f"--user-data-dir={folder / 'user'}", f"--print-to-pdf={paper}", page.as_uri()]
    subprocess.run(command, capture_output=True, timeout=60, check=True)
    return len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes()))
