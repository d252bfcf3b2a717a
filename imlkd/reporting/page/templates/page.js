"use strict";
// Tables sort by a click on a column's head; a click into a picture plays the recording from that place.
(() => {
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.number === undefined ? cell.textContent.trim() : Number(cell.dataset.number);
  };

  const compare = (a, b) => {
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1; // cells without a number come last
    return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  };

  const sort = (table, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const falling = heads[column].getAttribute("aria-sort") === "ascending";
    for (const head of heads) head.setAttribute("aria-sort", "none");
    heads[column].setAttribute("aria-sort", falling ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const one = value(a, column), other = value(b, column);
      return compare(one, other) * (falling && typeof one === typeof other ? -1 : 1);
    });
    table.tBodies[0].append(...rows);
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => sort(table, column));
    });
  }

  const sounds = [...document.querySelectorAll("audio")];
  for (const sound of sounds) { // one at a time
    sound.addEventListener("play", () => sounds.forEach((other) => other !== sound && other.pause()));
  }

  for (const player of document.querySelectorAll(".player")) {
    const sound = player.querySelector("audio");
    if (!sound) continue;
    const seconds = Number(player.dataset.seconds);
    const timeline = player.querySelector(".timeline");
    const cursor = player.querySelector(".cursor");
    const picture = player.querySelector("img");
    const show = () => {
      const place = Math.min(1, sound.currentTime / seconds);
      cursor.hidden = false;
      cursor.style.left = `${picture.offsetLeft + place * picture.offsetWidth}px`;
    };
    const follow = () => {
      show();
      if (!sound.paused) requestAnimationFrame(follow);
    };
    timeline.addEventListener("click", (event) => {
      if (event.target.tagName !== "IMG") return;
      const box = event.target.getBoundingClientRect();
      sound.currentTime = ((event.clientX - box.left) / box.width) * seconds;
      show();
      sound.play().catch(() => {}); // a browser may ask for a click on the player first
    });
    sound.addEventListener("play", follow);
    sound.addEventListener("seeked", show);
  }
})();
