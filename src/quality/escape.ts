/** Text as it may stand between tags and in quoted attributes. Control characters, which HTML cannot hold, become U+FFFD. */
export function escapeHtml(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are the characters meant
  return text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g, "\uFFFD")
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
