const at = (bytes: Uint8Array, offset: number, text: string): boolean => {
  for (let index = 0; index < text.length; index++) {
    if (bytes[offset + index] !== text.charCodeAt(index)) return false;
  }
  return true;
};

const signatures: [extension: string, test: (bytes: Uint8Array) => boolean][] = [
  ["jpg", (bytes) => at(bytes, 0, "\xff\xd8\xff")],
  ["png", (bytes) => at(bytes, 0, "\x89PNG\r\n\x1a\n")],
  ["gif", (bytes) => at(bytes, 0, "GIF87a") || at(bytes, 0, "GIF89a")],
  ["webp", (bytes) => at(bytes, 0, "RIFF") && at(bytes, 8, "WEBP")],
  ["wav", (bytes) => at(bytes, 0, "RIFF") && at(bytes, 8, "WAVE")],
  ["flac", (bytes) => at(bytes, 0, "fLaC")],
  ["ogg", (bytes) => at(bytes, 0, "OggS")],
  ["mp3", (bytes) => at(bytes, 0, "ID3") || (bytes[0] === 0xff && (bytes[1]! & 0xe6) === 0xe2)],
  ["mp4", (bytes) => at(bytes, 4, "ftyp")],
  ["pdf", (bytes) => at(bytes, 0, "%PDF-")],
  ["npy", (bytes) => at(bytes, 0, "\x93NUMPY")],
];

/** The extension for what the first bytes look like, if they look like something that loaders decode. */
export function mediaOf(bytes: Uint8Array): string | undefined {
  return signatures.find(([, test]) => test(bytes))?.[0];
}
