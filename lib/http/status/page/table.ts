/** Tables of the status page. On a narrow screen each row becomes a card, so every cell carries its column's head. */
import { html } from "hono/html";

/** HTML whose text is already escaped. */
export type Html = ReturnType<typeof html>;
/** A plain text is escaped. */
export type Cell = string | number | Html;

/**
 * @param caption what the table shows, for screen readers
 * @param textColumns how many columns at the front hold text; the others hold numbers
 */
export function table(
  caption: string,
  heads: readonly string[],
  rows: readonly (readonly Cell[])[],
  textColumns = 0,
): Html {
  const kind = (column: number) => column < textColumns ? "text" : "number";
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label="${caption}">
      <table>
        <thead>
          <tr>${heads.map((head, i) => html`<th scope="col" class="${kind(i)}">${head}</th>`)}</tr>
        </thead>
        <tbody>${rows.map((row) =>
          html`<tr>${row.map((cell, i) => html`<td class="${kind(i)}" data-head="${heads[i]}">${cell}</td>`)}</tr>`
        )}</tbody>
      </table>
    </div>
  `;
}
