// Runs a network of `nst-tuner distill` with onnxruntime-web. Its inputs are `image` [1, 3, height,
// width] in [0, 1], `strength` [1] and `styles` [1, number of styles]; its output is `result`.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

ort.env.wasm.numThreads = 1; // threads need a cross-origin isolated page

const element = (id) => document.getElementById(id);
const canvas = element("result");
let session = null;
let styles = 1;
let picture = null;

// Returns the colors of a picture as one plane after the other, which networks expect.
function planes(pixels) {
  const count = pixels.width * pixels.height;
  const image = new Float32Array(3 * count);
  for (let place = 0; place < count; place++) {
    for (let channel = 0; channel < 3; channel++) {
      image[channel * count + place] = pixels.data[4 * place + channel] / 255;
    }
  }
  return image;
}

async function stylized(pixels, strength, style) {
  const shares = Float32Array.from({ length: styles }, (_, index) => Number(index === style));
  const { result } = await session.run({
    image: new ort.Tensor("float32", planes(pixels), [1, 3, pixels.height, pixels.width]),
    strength: new ort.Tensor("float32", [strength], [1]),
    styles: new ort.Tensor("float32", shares, [1, styles]),
  });
  const count = pixels.width * pixels.height;
  const output = new ImageData(pixels.width, pixels.height);
  for (let place = 0; place < count; place++) {
    for (let channel = 0; channel < 3; channel++) {
      output.data[4 * place + channel] = Math.round(255 * result.data[channel * count + place]);
    }
    output.data[4 * place + 3] = 255;
  }
  return output;
}

async function update() {
  const strength = 10 ** Number(element("strength").value);
  element("strength-shown").textContent = strength.toPrecision(2);
  if (!session || !picture) return;
  element("status").textContent = "Working …";
  const started = performance.now();
  const output = await stylized(picture, strength, Number(element("style").value) - 1);
  [canvas.width, canvas.height] = [output.width, output.height];
  canvas.getContext("2d").putImageData(output, 0, 0);
  const ms = Math.round(performance.now() - started);
  element("status").textContent = `${output.width}x${output.height} px in ${ms} ms`;
}

async function openNetwork(event) {
  const content = new Uint8Array(await event.target.files[0].arrayBuffer());
  session = await ort.InferenceSession.create(content);
  styles = session.inputMetadata?.[2]?.shape?.[1] ?? 1;
  element("style").max = styles;
  await update();
}

async function openPicture(event) {
  const bitmap = await createImageBitmap(event.target.files[0]);
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  picture = context.getImageData(0, 0, bitmap.width, bitmap.height);
  await update();
}

// Says what went wrong instead of leaving the page silent.
function guarded(action) {
  return (event) => action(event).catch((error) => {
    element("status").textContent = `This did not work: ${error.message ?? error}`;
  });
}

element("network").addEventListener("change", guarded(openNetwork));
element("picture").addEventListener("change", guarded(openPicture));
element("strength").addEventListener("change", guarded(update));
element("style").addEventListener("change", guarded(update));
document.documentElement.dataset.ready = "yes";
