// What a reader sees of the page: the boxes of its texts, and what may not be.
const closed = [...document.querySelectorAll("details")].filter((each) => !each.open).length;
for (const each of document.querySelectorAll("summary")) each.click();
const opened = [...document.querySelectorAll("details")].filter((each) => each.open && each.lastElementChild.offsetHeight > 0).length;
const boxes = [];
for (const each of document.querySelectorAll("h1, h2, summary, th, td, li, figcaption, figure img, pre")) {
  const range = document.createRange();
  range.selectNodeContents(each);
  const box = each.tagName === "IMG" ? each.getBoundingClientRect() : range.getBoundingClientRect();
  if (box.width && box.height) boxes.push([each.textContent.slice(0, 60) || each.alt, box.left, box.top, box.right, box.bottom]);
}
const overlaps = [];
boxes.forEach((a, place) => boxes.slice(place + 1).forEach((b) => {
  if (Math.min(a[3], b[3]) - Math.max(a[1], b[1]) > 1 && Math.min(a[4], b[4]) - Math.max(a[2], b[2]) > 1) overlaps.push([a[0], b[0]]);
}));
found = {
  width: innerWidth,
  wide: document.documentElement.scrollWidth,
  closed, opened, overlaps,
  texts: boxes.length,
  requests: performance.getEntriesByType("resource").map((each) => each.name).filter((name) => !name.startsWith("data:")),
  broken: [...document.images].filter((each) => !each.naturalWidth).length,
  images: document.images.length,
  unsorted: [],
};
for (const table of document.querySelectorAll("table")) {
  table.querySelectorAll("th").forEach((head, place) => {
    for (const order of ["ascending", "descending"]) {
      head.querySelector("button").click();
      const values = [...table.tBodies[0].rows].map((row) => row.cells[place].dataset.value);
      const known = values.filter((value) => value !== "");
      const numeric = head.classList.contains("number");
      const compare = (a, b) => (numeric ? a - b : a.localeCompare(b, "en", { numeric: true }));
      const right = [...known].sort((a, b) => (order === "ascending" ? compare(a, b) : compare(b, a)));
      const sorted = known.every((value, index) => compare(value, right[index]) === 0);
      if (head.getAttribute("aria-sort") !== order || !sorted || values.slice(0, known.length).includes("")) found.unsorted.push(head.textContent);
    }
  });
}
