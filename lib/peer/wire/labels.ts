/** Labels in frames: two numbers each. */
import { BLIND, type Label } from "../../core/invalidation/label.ts";

/**
 * A hit compares labels by identity, and a million values must not hold a million labels. So each slot keeps the last
 * label with these low bits of the sequence, and equal numbers are read as this object. Chosen: far more slots than
 * labels in use at one time.
 */
const SLOTS = 256;
const kept: Label[] = new Array(SLOTS).fill(BLIND);

/** @returns the object BLIND for its numbers; `undefined` for numbers that no node writes */
export function readLabel(view: DataView, at: number): Label | undefined {
  const epoch = view.getFloat64(at, true);
  const sequence = view.getFloat64(at + 8, true);
  const slot = sequence & (SLOTS - 1);
  const last = kept[slot]!;
  if (last.sequence === sequence && last.epoch === epoch) return last;
  if (!isCount(epoch) || !isCount(sequence)) return undefined;
  return kept[slot] = sharedOf({ epoch, sequence });
}

/** @throws RangeError its numbers are not whole or are below 0; then nothing was written */
export function writeLabel(view: DataView, at: number, label: Label): void {
  const { epoch, sequence } = label;
  const slot = sequence & (SLOTS - 1);
  // The reply to a get often has the get's label. Keep it, so that it is then read as this node's own object.
  if (kept[slot] !== label) {
    checkLabel(label);
    kept[slot] = sharedOf(label);
  }
  view.setFloat64(at, epoch, true);
  view.setFloat64(at + 8, sequence, true);
}

/** @throws RangeError as `writeLabel` */
export function checkLabel({ epoch, sequence }: Label): void {
  if (isCount(epoch) && isCount(sequence)) return;
  throw new RangeError(`Cannot send a label as its numbers must be whole, from 0: these are ${epoch} and ${sequence}`);
}

function sharedOf(label: Label): Label {
  return label.epoch === 0 && label.sequence === 0 ? BLIND : label;
}

function isCount(number: number): boolean {
  return Number.isSafeInteger(number) && number >= 0;
}
