/** How pixels are coded. */
export type Coding = "none" | "rle" | "jpeg" | "jpeg-lossless" | "jpeg-ls" | "jpeg-2000" | undefined;

/** Transfer syntaxes of PS3.6, table A-1: their names, and how their pixels are coded; undefined for those that we have no decoder for. */
const syntaxes: Record<string, [name: string, coding: Coding]> = {
  "1.2.840.10008.1.2": ["Implicit VR Little Endian", "none"],
  "1.2.840.10008.1.2.1": ["Explicit VR Little Endian", "none"],
  "1.2.840.10008.1.2.1.99": ["Deflated Explicit VR Little Endian", "none"],
  "1.2.840.10008.1.2.2": ["Explicit VR Big Endian", "none"],
  "1.2.840.10008.1.2.4.50": ["JPEG Baseline (Process 1)", "jpeg"],
  "1.2.840.10008.1.2.4.51": ["JPEG Extended (Process 2 and 4)", "jpeg"],
  "1.2.840.10008.1.2.4.57": ["JPEG Lossless (Process 14)", "jpeg-lossless"],
  "1.2.840.10008.1.2.4.70": ["JPEG Lossless (Process 14, Selection Value 1)", "jpeg-lossless"],
  "1.2.840.10008.1.2.4.80": ["JPEG-LS Lossless", "jpeg-ls"],
  "1.2.840.10008.1.2.4.81": ["JPEG-LS Near-Lossless", "jpeg-ls"],
  "1.2.840.10008.1.2.4.90": ["JPEG 2000 Lossless Only", "jpeg-2000"],
  "1.2.840.10008.1.2.4.91": ["JPEG 2000", "jpeg-2000"],
  "1.2.840.10008.1.2.4.92": ["JPEG 2000 Part 2 Lossless Only", undefined],
  "1.2.840.10008.1.2.4.93": ["JPEG 2000 Part 2", undefined],
  "1.2.840.10008.1.2.4.100": ["MPEG2 Main Profile / Main Level", undefined],
  "1.2.840.10008.1.2.4.101": ["MPEG2 Main Profile / High Level", undefined],
  "1.2.840.10008.1.2.4.102": ["MPEG-4 AVC/H.264 High Profile / Level 4.1", undefined],
  "1.2.840.10008.1.2.4.103": ["MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", undefined],
  "1.2.840.10008.1.2.4.107": ["HEVC/H.265 Main Profile / Level 5.1", undefined],
  "1.2.840.10008.1.2.4.201": ["High-Throughput JPEG 2000 Lossless Only", undefined],
  "1.2.840.10008.1.2.4.202": ["High-Throughput JPEG 2000 with RPCL Options Lossless Only", undefined],
  "1.2.840.10008.1.2.4.203": ["High-Throughput JPEG 2000", undefined],
  "1.2.840.10008.1.2.5": ["RLE Lossless", "rle"],
};

export const nameOfSyntax = (uid: string): string => (Object.hasOwn(syntaxes, uid) ? syntaxes[uid]![0] : uid);
export const codingOf = (uid: string): Coding => (Object.hasOwn(syntaxes, uid) ? syntaxes[uid]![1] : undefined);
