// A part of a page that is fetched again stays as its reader left it: what is open, where it is scrolled to, what is
// typed or chosen, what has the focus. Elements are recognised by the nearest named ancestor and their place below it.
(() => {
  "use strict";

  const NAMED = "[id], [data-name]";
  const SCROLLED = ".scroll, .tl, .graph, .given, pre";
  const TYPED = "input:not([type=hidden]):not([type=checkbox]), textarea, select";
  const TICKED = "input[type=checkbox]";
  const FOCUSED = "a, button, summary, input, select, textarea, [tabindex]";

  const nameOf = (element) => element.id || element.dataset.name || "";

  // Each element of the kind, by a name that it has after the next fetch as well.
  const all = (part, kind) => {
    const counts = new Map();
    const found = new Map();
    for (const element of part.querySelectorAll(kind)) {
      const above = element.parentElement.closest(NAMED);
      const place = element.id ? `#${element.id}` : nameOf(above ?? part);
      const number = counts.get(place) ?? 0;
      counts.set(place, number + 1);
      found.set(`${place} ${element.localName} ${number}`, element);
    }
    return found;
  };

  const noted = (part) => {
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const notes = { open: new Map(), scrolled: new Map(), typed: new Map(), ticked: new Map(), focused: null };
    for (const [name, one] of all(part, "details")) notes.open.set(name, one.open);
    for (const [name, one] of all(part, SCROLLED)) {
      if (one.scrollTop || one.scrollLeft) notes.scrolled.set(name, [one.scrollLeft, one.scrollTop]);
    }
    for (const [name, one] of all(part, TYPED)) if (one.value !== one.defaultValue) notes.typed.set(name, one.value);
    for (const [name, one] of all(part, TICKED)) if (one.checked !== one.defaultChecked) notes.ticked.set(name, one.checked);
    for (const [name, one] of all(part, FOCUSED)) if (one === focused) notes.focused = name;
    return notes;
  };

  const restore = (part, notes) => {
    for (const [name, one] of all(part, "details")) if (notes.open.has(name)) one.open = notes.open.get(name);
    for (const [name, one] of all(part, SCROLLED)) {
      if (notes.scrolled.has(name)) [one.scrollLeft, one.scrollTop] = notes.scrolled.get(name);
    }
    for (const [name, one] of all(part, TYPED)) if (notes.typed.has(name)) one.value = notes.typed.get(name);
    for (const [name, one] of all(part, TICKED)) if (notes.ticked.has(name)) one.checked = notes.ticked.get(name);
    const focused = notes.focused && all(part, FOCUSED).get(notes.focused);
    if (focused && !part.contains(document.activeElement)) focused.focus({ preventScroll: true });
  };

  const kept = new Map();
  document.addEventListener("htmx:beforeSwap", (event) => {
    const part = event.detail.target;
    if (part?.dataset.live && event.detail.shouldSwap) kept.set(part.id, [noted(part), scrollX, scrollY]);
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const [id, [notes, x, y]] of kept) {
      const part = document.getElementById(id);
      if (!part) continue;
      kept.delete(id);
      restore(part, notes);
      scrollTo({ left: x, top: y, behavior: "instant" });
    }
  });
})();
