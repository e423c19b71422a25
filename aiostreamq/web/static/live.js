// Keeps the parts of a page that have data-live up to date, and asks before what cannot be undone.
// Without this script the pages work all the same; they are then as old as their loading.
"use strict";

const LONGEST_PAUSE = 60;

function keepLive(element) {
  const every = Number(element.dataset.every);
  const address = new URL(location.href);
  address.searchParams.set("part", element.dataset.live);
  ["did", "n"].forEach((name) => address.searchParams.delete(name));
  let pause = every;
  let shown = null;

  async function look() {
    try {
      const answer = await fetch(address, { headers: { accept: "text/html" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const text = await answer.text();
      if (text !== shown && !isInUse(element)) {
        element.innerHTML = text;
        shown = text;
      }
      pause = every;
      say("");
    } catch {
      pause = Math.min(2 * pause, LONGEST_PAUSE);
      say("not up to date: the server does not answer");
    }
    plan();
  }

  function plan() {
    setTimeout(() => (document.hidden ? whenSeen(look) : look()), pause * 1000);
  }

  plan();
}

// A form, a link or a selection that is in use stays as it is.
function isInUse(element) {
  const selection = document.getSelection();
  const isSelected = selection && !selection.isCollapsed && element.contains(selection.anchorNode);
  const active = document.activeElement;
  return isSelected || (active && active !== element && element.contains(active));
}

function whenSeen(look) {
  document.addEventListener("visibilitychange", look, { once: true });
}

function say(text) {
  const place = document.querySelector("[data-live-state]");
  if (!place) return;
  place.textContent = text ? " · " + text : "";
  place.hidden = !text;
}

document.querySelectorAll("[data-live]").forEach(keepLive);

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.ask;
  if (question && !confirm(question)) event.preventDefault();
});
