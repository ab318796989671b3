/** One object or file of a store. Paths are relative to the store's root, with `/`, and never start with one. */
export interface Entry {
  path: string;
  size: number;
  /** Milliseconds since the epoch. */
  modified: number;
  etag?: string;
}

/** What lies in a store and cannot be read through it. `name` is what the medium calls it, relative to the store's root. */
export interface LeftOut extends Omit<Entry, "path"> {
  name: string;
  /** A sentence without its subject: `is a symbolic link, which a store does not follow`. */
  why: string;
}

export interface RandomAccess extends AsyncDisposable {
  readonly size: number;
  /** Milliseconds since the epoch, where the store says. */
  readonly modified?: number;
  /** Of the object that was opened; what is read is of this one or an error. */
  readonly etag?: string;
  /** Exactly `length` bytes, or an error: a short read is never silent. */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array>;
}

/** An object, block or file storage medium that holds datasets. Everything is durable when the promise resolves. */
export interface Store extends AsyncDisposable {
  /** How people and other engines name the root: `/data/lake`, `s3://bucket/prefix`. Without trailing slash. */
  readonly url: string;
  /** Reaches the medium and proves that a conditional create works on it. Throws `unsupported` where it does not. */
  check(signal?: AbortSignal): Promise<void>;
  /** Throws `not-found`. */
  open(path: string): Promise<RandomAccess>;
  /** The whole object. Throws `not-found`. */
  read(path: string): Promise<Uint8Array>;
  /**
   * With `ifAbsent`, throws `already-exists` when the path exists; exactly one of several writers wins.
   * With `durable: false` a power cut may undo it: for hints and caches that can be made again.
   * With `fresh`, the name is new and nobody looks at it before the promise resolves, so it need not appear all at once.
   */
  write(
    path: string,
    bytes: Uint8Array,
    options?: { ifAbsent?: boolean; durable?: boolean; fresh?: boolean },
  ): Promise<Entry>;
  /** Brings a local file in, by moving it where that is possible. The local file is gone afterwards. */
  adopt(file: string, path: string): Promise<Entry>;
  /**
   * All entries below a prefix (a folder), in no particular order. An absent folder is empty. `leftOut` is told of all else that lies
   * there: each object whose name is no path of a store, each link. Markers of folders are nothing.
   */
  list(prefix: string, leftOut?: (object: LeftOut) => void): AsyncIterable<Entry>;
  /** Names of the folders right below the root, when the store can tell them without listing everything. */
  folders?(): Promise<string[]>;
  /** No error when it is absent. */
  remove(path: string): Promise<void>;
  /** What is written into table metadata and given to engines: the absolute name of a path. */
  uri(path: string): string;
  /** Where the path lies on this machine's file system, when the store is one. */
  local?(path: string): string;
  /** A store that is elsewhere, with a read cache: where the copy of an object lies once it was fetched. */
  copy?(path: string, identity?: string): string;
  /**
   * Brings copies of objects to this machine. They stay until the `during` ends that this was called in, without one until the store
   * is closed. Throws `corrupt` when one is not what is said of it, `conflict` when another one took its place.
   */
  fetch?(files: readonly KnownFile[], signal?: AbortSignal): Promise<void>;
  /** As `fetch`, but they stay until the returned function is called. */
  hold?(files: readonly KnownFile[], signal?: AbortSignal): Promise<() => Promise<void>>;
  /** What `action` fetches may make room for others when it has ended. */
  during?<T>(action: () => Promise<T>): Promise<T>;
}

/** An object and what is known of it. */
export interface KnownFile {
  path: string;
  bytes?: number;
  /** Lower-case hexadecimal. */
  sha256?: string;
  /** Of an object that others may replace: what `identityOf` says of it. */
  identity?: string;
}

/** What tells an object from one that has taken its place: its etag, or its time where the store has none. */
export function identityOf(object: { etag?: string; modified?: number }): string {
  return object.etag ?? `@${Math.trunc(object.modified ?? 0)}`;
}

/** The file that the engine opens for an object: the object itself, or its copy, which must have been fetched. */
export function localFile(store: Pick<Store, "local" | "copy" | "uri">, path: string): string {
  return store.local?.(path) ?? store.copy?.(path) ?? store.uri(path);
}

/** Runs `action`; copies that it has fetched from the store may go afterwards. */
export function during<T>(store: Pick<Store, "during">, action: () => Promise<T>): Promise<T> {
  return store.during ? store.during(action) : action();
}

export interface StoreCapabilities {
  /** The medium is a file system of this machine. */
  local: boolean;
  /** Survives the loss of the machine. */
  durable: boolean;
  /** Objects must be restored before they can be read. */
  archive: boolean;
}

export interface StoreContext {
  connection: string;
  folder: string;
}
