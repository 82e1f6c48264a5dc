"""The HTML report, opened in a browser without a network."""

import re
import shutil
import subprocess

import pytest
from example_project import snakemake

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Loads every image of the report, and writes into the page the number of images and of those that can be shown.
SCRIPT = """
<pre id="seen"></pre>
<script>
  const images = Object.values(results).filter((result) => result.mime_type.startsWith("image"));
  const seen = {images: images.length, shown: 0, captions: 0, categories: Object.keys(categories).sort()};
  const write = () => (document.getElementById("seen").textContent = JSON.stringify(seen));
  for (const result of Object.values(results)) seen.captions += Boolean(result.caption);
  for (const result of images) {
    const image = new Image();
    image.onload = () => { seen.shown += image.naturalWidth > 100; write(); };
    image.src = result.data_uri;
  }
  write();
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_every_image_of_the_report_is_shown_without_errors(project, tmp_path):
    status, output = snakemake(project, "--report", str(tmp_path / "report.html"))
    assert status == 0, output
    page = (tmp_path / "report.html").read_text()
    assert not re.findall(
        r"""<(?:script|link|img)[^>]+(?:src|href)=["']https?://""", page
    )  # so that it works without a network
    (tmp_path / "report.html").write_text(f"{SCRIPT}</body>".join(page.rsplit("</body>", 1)))
    browser = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"]
    browser += ["--enable-logging=stderr", "--dump-dom", f"--user-data-dir={tmp_path}/profile"]
    finished = subprocess.run(
        [*browser, (tmp_path / "report.html").as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    assert not re.findall(r":ERROR:CONSOLE.*|.*Uncaught.*", finished.stderr)
    seen = re.search(r'<pre id="seen">(.*?)</pre>', finished.stdout)[1]
    assert seen == '{"images":3,"shown":3,"captions":6,"categories":["All verdicts","work"]}'
