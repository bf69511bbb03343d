"""The example page runs a network in a browser, with the pixels of onnxruntime."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from nst_core.distill.onnx_file import OnnxNetwork
from nst_core.images.tensors import load_image, to_uint8
from tests.nst_core.distill.tiny_network import write_tiny
from tests.tuner.browser import chromium, needs_chromium

EXAMPLE = Path(__file__).parents[1] / "examples" / "browser"

#: Seconds to wait for the package registry.
INSTALL_WITHIN_S = 240


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the example page, with onnxruntime-web from the package registry."""
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine")
    folder = tmp_path_factory.mktemp("example") / "browser"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules"))
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        subprocess.run(
            install, cwd=folder, check=True, capture_output=True, timeout=INSTALL_WITHIN_S
        )
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"onnxruntime-web cannot be installed ({type(error).__name__})")
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow  # it downloads onnxruntime-web, which is large
@needs_chromium
def test_the_browser_computes_the_pixels_of_onnxruntime(page: str, tmp_path: Path) -> None:
    """A picture, a strength and a style chosen in the page give the pixels of onnxruntime."""
    write_tiny(tmp_path / "n.onnx")
    Image.fromarray(skimage.data.chelsea()).resize((61, 45)).save(tmp_path / "p.png")
    network, image = OnnxNetwork.load(tmp_path / "n.onnx"), load_image(tmp_path / "p.png")
    with chromium() as watched:
        shown = watched.open(page)
        shown.set_input_files("#network", tmp_path / "n.onnx")
        shown.set_input_files("#picture", tmp_path / "p.png")
        for position, style in ((0.0, 1), (0.5, 2)):
            shown.locator("#status").evaluate("element => { element.textContent = '' }")
            shown.locator("#style").fill(str(style))
            shown.locator("#strength").fill(str(position))
            shown.locator("#strength").dispatch_event("change")
            shown.wait_for_function(
                "/ in \\d+ ms/.test(document.getElementById('status').textContent)"
            )
            url = shown.evaluate("document.getElementById('result').toDataURL('image/png')")
            content = base64.b64decode(url.partition(",")[2])
            pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
            shares = [float(style == 1), float(style == 2)]
            expected = to_uint8(network(image, strength=10**position, styles=shares))
            assert np.abs(pixels - expected.astype(int)).max() <= 2
        assert not watched.errors and not watched.foreign_requests
