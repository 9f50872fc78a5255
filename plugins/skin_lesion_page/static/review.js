// One key an answer. The keys can be switched off, for people whose speech or hands press keys by chance.
"use strict";
const NAME = "skin-lesion-review-keys";
const keys = document.getElementById("keys");
let sent = false;

function areOn() {
  return localStorage.getItem(NAME) !== "off";
}
function show() {
  keys.setAttribute("aria-pressed", String(areOn()));
}
if (keys !== null) {
  keys.parentElement.hidden = false;
  keys.addEventListener("click", () => {
    localStorage.setItem(NAME, areOn() ? "off" : "on");
    show();
  });
  show();
}
document.querySelector("h1").focus({ preventScroll: true });

addEventListener("submit", (event) => {
  if (sent) {
    event.preventDefault();
  }
  sent = true;
});
// A page that the browser kept has the entry of then: another person may have said something since.
addEventListener("pageshow", (event) => {
  if (event.persisted) {
    location.reload();
  }
});
addEventListener("keydown", (event) => {
  const writes = event.target.closest("textarea, input:not([type=checkbox]), select") !== null;
  if (writes && event.key === "Escape") {
    event.target.blur();
  }
  if (writes || sent || event.repeat || event.ctrlKey || event.metaKey || event.altKey || !areOn()) {
    return;
  }
  const key = event.key.toLowerCase();
  const button = [...document.querySelectorAll("button[data-key]")].find((one) => one.dataset.key === key);
  if (button !== undefined) {
    event.preventDefault();
    button.click();
  }
});
