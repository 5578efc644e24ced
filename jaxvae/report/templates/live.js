/* Runs the decoder of the page: a list of operations on arrays, for a batch of one. */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const sizeOf = shape => shape.reduce((a, b) => a * b, 1);

function stridesOf(shape) {
  const strides = new Array(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= shape[axis];
  }
  return strides;
}

function erf(x) {
  // The series for small arguments, and the continued fraction for large ones.
  if (Math.abs(x) > 5) return Math.sign(x);
  if (Math.abs(x) > 2.5) {
    let f = 0;
    for (let k = 40; k > 0; k--) f = k / 2 / (Math.abs(x) + f);
    return Math.sign(x) * (1 - Math.exp(-x * x) / (Math.sqrt(Math.PI) * (Math.abs(x) + f)));
  }
  let sum = x, term = x;
  for (let k = 1; k < 60; k++) {
    term *= -x * x / k;
    sum += term / (2 * k + 1);
  }
  return 2 / Math.sqrt(Math.PI) * sum;
}

const UNARY = {
  exp: Math.exp, log: Math.log, log1p: Math.log1p, tanh: Math.tanh, logistic: x => 1 / (1 + Math.exp(-x)), sqrt: Math.sqrt,
  rsqrt: x => 1 / Math.sqrt(x), neg: x => -x, abs: Math.abs, sign: Math.sign, square: x => x * x, erf,
};
const BINARY = {
  add: (x, y) => x + y, add_any: (x, y) => x + y, sub: (x, y) => x - y, mul: (x, y) => x * y, div: (x, y) => x / y,
  max: Math.max, min: Math.min, pow: Math.pow, ge: (x, y) => +(x >= y), gt: (x, y) => +(x > y), le: (x, y) => +(x <= y),
  lt: (x, y) => +(x < y), eq: (x, y) => +(x === y), ne: (x, y) => +(x !== y),
};

function moved(input, shape, strides) {
  // Values of the input in the order of `shape`, whose axes step through it by `strides`.
  const out = new Float32Array(sizeOf(shape)), index = new Array(shape.length).fill(0);
  let from = 0;
  for (let to = 0; to < out.length; to++) {
    out[to] = input[from];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) break;
      from -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return out;
}

function broadcast(input, one) {
  const steps = stridesOf(input.shape), strides = new Array(one.shape.length).fill(0);
  one.axes.forEach((axis, k) => { strides[axis] = input.shape[k] === 1 ? 0 : steps[k]; });
  return moved(input.data, one.shape, strides);
}

/* Values of an input in the shape of the result: axes of size 1 are repeated. */
function fitted(input, shape) {
  if (input.data.length === sizeOf(shape)) return input.data;
  if (input.data.length === 1) return new Float32Array(sizeOf(shape)).fill(input.data[0]);
  const steps = stridesOf(input.shape);
  return moved(input.data, shape, steps.map((step, axis) => (input.shape[axis] === 1 ? 0 : step)));
}

function dot(left, right, one) {
  const free = (array, taken) => array.shape.map((_, axis) => axis).filter(axis => !taken.includes(axis));
  const rows = free(left, one.left), columns = free(right, one.right);
  const turned = (array, axes) => {
    const strides = stridesOf(array.shape);
    return moved(array.data, axes.map(axis => array.shape[axis]), axes.map(axis => strides[axis]));
  };
  const x = turned(left, [...rows, ...one.left]);
  const plain = [...one.right, ...columns].every((axis, k) => axis === k);
  const y = plain ? right.data : turned(right, [...one.right, ...columns]);
  const n = sizeOf(rows.map(axis => left.shape[axis])), m = sizeOf(columns.map(axis => right.shape[axis]));
  const depth = x.length / Math.max(n, 1), out = new Float32Array(n * m);
  for (let row = 0; row < n; row++) {
    for (let k = 0; k < depth; k++) {
      const value = x[row * depth + k];
      if (value === 0) continue;
      for (let column = 0; column < m; column++) out[row * m + column] += value * y[k * m + column];
    }
  }
  return out;
}

function convolve(input, kernel, one) {
  const [, height, width, channels] = input.shape, [rows, columns, , filters] = kernel.shape;
  const [, tall, wide] = one.shape, x = input.data, w = kernel.data, out = new Float32Array(sizeOf(one.shape));
  const [strideY, strideX] = one.window_strides, [[top], [left]] = one.padding;
  const [dilateY, dilateX] = one.lhs_dilation, [spreadY, spreadX] = one.rhs_dilation;
  for (let i = 0; i < tall; i++) for (let a = 0; a < rows; a++) {
    const y = i * strideY + a * spreadY - top;
    if (y < 0 || y % dilateY || y / dilateY >= height) continue;
    for (let j = 0; j < wide; j++) for (let b = 0; b < columns; b++) {
      const z = j * strideX + b * spreadX - left;
      if (z < 0 || z % dilateX || z / dilateX >= width) continue;
      const from = (y / dilateY * width + z / dilateX) * channels, to = (i * wide + j) * filters;
      const taps = (a * columns + b) * channels * filters;
      for (let c = 0; c < channels; c++) {
        const value = x[from + c];
        if (value === 0) continue;
        for (let f = 0; f < filters; f++) out[to + f] += value * w[taps + c * filters + f];
      }
    }
  }
  return out;
}

function sum(input, one) {
  const kept = input.shape.map((_, axis) => axis).filter(axis => !one.axes.includes(axis)), strides = stridesOf(input.shape);
  const axes = [...kept, ...one.axes], shape = axes.map(axis => input.shape[axis]);
  const values = moved(input.data, shape, axes.map(axis => strides[axis])), out = new Float32Array(sizeOf(one.shape));
  const depth = values.length / out.length;
  for (let k = 0; k < values.length; k++) out[Math.floor(k / depth)] += values[k];
  return out;
}

function join(inputs, one) {
  const out = new Float32Array(sizeOf(one.shape)), inner = sizeOf(one.shape.slice(one.axis + 1));
  const whole = one.shape[one.axis] * inner, outer = out.length / whole;
  let first = 0;
  for (const {data, shape} of inputs) {
    const part = shape[one.axis] * inner;
    for (let k = 0; k < outer; k++) out.set(data.subarray(k * part, (k + 1) * part), k * whole + first);
    first += part;
  }
  return out;
}

function apply(one, inputs) {
  const first = inputs[0].data;
  if (one.op in UNARY) return first.map(UNARY[one.op]);
  if (one.op in BINARY) {
    const [x, y] = inputs.map(input => fitted(input, one.shape)), act = BINARY[one.op];
    return x.map((value, k) => act(value, y[k]));
  }
  switch (one.op) {
    case "integer_pow": return first.map(x => x ** one.y);
    case "select_n": {
      const [which, low, high] = inputs.map(input => fitted(input, one.shape));
      return which.map((value, k) => (value ? high[k] : low[k]));
    }
    case "reshape": case "squeeze": case "expand_dims": return first;
    case "broadcast_in_dim": return broadcast(inputs[0], one);
    case "transpose": {
      const strides = stridesOf(inputs[0].shape);
      return moved(first, one.shape, one.axes.map(axis => strides[axis]));
    }
    case "concatenate": return join(inputs, one);
    case "reduce_sum": return sum(inputs[0], one);
    case "dot_general": return dot(inputs[0], inputs[1], one);
    case "conv_general_dilated": return convolve(inputs[0], inputs[1], one);
    default: throw new Error(`unknown operation ${one.op}`);
  }
}

function decoderOf(program) {
  const bytes = Uint8Array.from(atob(program.weights), letter => letter.charCodeAt(0)), view = new DataView(bytes.buffer);
  const weights = Float32Array.from({length: bytes.length / 2}, (_, k) => half(view.getUint16(2 * k, true)));
  const known = new Map();
  for (const {id, shape, at, values} of program.constants) {
    known.set(id, {shape, data: values ? Float32Array.from(values) : weights.subarray(at, at + sizeOf(shape))});
  }
  return code => {
    const arrays = new Map(known);
    arrays.set(program.argument, {shape: [1, code.length], data: Float32Array.from(code)});
    for (const one of program.operations) {
      arrays.set(one.out, {shape: one.shape, data: apply(one, one.in.map(id => arrays.get(id)))});
    }
    return arrays.get(program.result).data;
  };
}

const live = JSON.parse(document.getElementById("live-model").textContent);
const liveDecode = decoderOf(live.program);
let liveCode = [...live.starts[0]];

function liveShow() {
  const start = performance.now(), pixels = liveDecode(liveCode), [height, width, channels] = live.shape;
  const canvas = document.getElementById("live-picture"), image = new ImageData(width, height);
  for (let k = 0; k < height * width; k++) {
    for (let c = 0; c < 3; c++) image.data[4 * k + c] = Math.round(255 * Math.max(0, Math.min(1, pixels[k * channels + (channels > 1 ? c : 0)])));
    image.data[4 * k + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  document.getElementById("live-speed").textContent = `${(performance.now() - start).toFixed(0)} ms a picture, decoded in this page`;
}

function liveReset() {
  liveCode = [...live.starts[Number(document.getElementById("live-start").value)]];
  for (const slider of live.sliders) {
    document.getElementById(`live-${slider.index}`).value = liveCode[slider.index];
    document.getElementById(`live-${slider.index}-value`).textContent = liveCode[slider.index].toFixed(2);
  }
  liveShow();
}

for (const slider of live.sliders) {
  const input = document.getElementById(`live-${slider.index}`);
  input.addEventListener("input", () => {
    liveCode[slider.index] = Number(input.value);
    document.getElementById(`live-${slider.index}-value`).textContent = Number(input.value).toFixed(2);
    liveShow();
  });
}
document.getElementById("live-start").addEventListener("change", liveReset);
document.getElementById("live-reset").addEventListener("click", liveReset);
liveReset();
