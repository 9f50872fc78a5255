// Light or dark, as a person chose in Airflow, which keeps that under "theme"; "system" or nothing leaves it to the browser.
"use strict";
function follow() {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.mode = chosen;
  } else {
    delete document.documentElement.dataset.mode;
  }
}
follow();
addEventListener("storage", follow);
