// A picture is dragged onto what it is to steer: onto a field, or onto a place that is in view as long as one is dragged.

const TYPE = "application/x-rarebit-output";
const root = document.documentElement;

/**
 * Lets the output "JOB_ID/INDEX" be dragged by its picture.
 * @param {HTMLElement} picture
 * @param {string} output
 */
export function makeDraggable(picture, output) {
  picture.addEventListener("dragstart", ({ dataTransfer }) => {
    dataTransfer?.setData(TYPE, output);
    setTimeout(() => root.classList.add("dragging")); // what moves as a drag begins ends it
  });
  picture.addEventListener("dragend", () => root.classList.remove("dragging"));
}

/** @param {(way: "toward" | "avoid", output: string) => void} dropped */
export function createDrop(dropped) {
  /** @type {NodeListOf<HTMLElement>} */
  const places = document.querySelectorAll("[data-drop]");
  for (const place of places) {
    place.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes(TYPE)) return;
      event.preventDefault();
      place.classList.add("over");
    });
    place.addEventListener("dragleave", () => place.classList.remove("over"));
    place.addEventListener("drop", (event) => {
      place.classList.remove("over");
      root.classList.remove("dragging");
      const output = event.dataTransfer?.getData(TYPE);
      if (!output) return;
      event.preventDefault();
      dropped(place.dataset.drop === "avoid" ? "avoid" : "toward", output);
    });
  }
}
