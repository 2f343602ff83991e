// The other half of pack.py: base64 of gzip -> JSON and typed arrays.

async function inflate(id) {
  const text = document.getElementById(id).textContent;
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

const KINDS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i1: Int8Array, i2: Int16Array, i4: Int32Array,
  f4: Float32Array, f8: Float64Array };
let packed = null; // the arrays' bytes
const unpacked = new Map(); // entry -> typed array

async function readData() {
  const all = await inflate("data");
  const length = new DataView(all).getUint32(0, true);
  packed = new Uint8Array(all, 4 + length);
  return JSON.parse(new TextDecoder().decode(new Uint8Array(all, 4, length)));
}

// the array that an entry stands for; its bytes lie sorted by significance
function unpack(entry) {
  let found = unpacked.get(entry);
  if (found) return found;
  const Kind = KINDS[entry.kind], width = Kind.BYTES_PER_ELEMENT, n = entry.n;
  const bytes = new Uint8Array(n * width);
  for (let plane = 0; plane < width; plane++) {
    let from = entry.at + plane * n;
    for (let to = plane; to < bytes.length; to += width) bytes[to] = packed[from++];
  }
  found = new Kind(bytes.buffer);
  unpacked.set(entry, found);
  return found;
}
