// What pages do with a script beyond htmx: keys, copying, times in the viewer's zone, and polling where nothing streams.
// Every page works without it.
(() => {
  "use strict";
  document.documentElement.classList.add("js");

  // Copy.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const said = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      const code = button.parentElement.querySelector("code");
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = said; }, 1500);
  });

  // Times: how long ago, moving; the exact one on hover, in the viewer's zone.
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  const span = (seconds) =>
    seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.floor(seconds / 60)} min`
      : seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} days`;
  const times = () => {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const then = new Date(time.dateTime);
      if (Number.isNaN(then.getTime())) continue;
      const seconds = Math.floor((Date.now() - then) / 1000);
      const ago = seconds < 0 ? `in ${span(-seconds)}` : `${span(seconds)} ago`;
      const [shown, hover] = time.classList.contains("exact") ? [exact.format(then), ago] : [ago, exact.format(then)];
      if (time.textContent !== shown) time.textContent = shown;
      if (time.title !== hover) time.title = hover;
    }
  };
  times();
  setInterval(() => { if (!document.hidden) times(); }, 5000);
  document.addEventListener("htmx:after:swap", times);

  // Where nothing streams, the part is asked for.
  const polls = new Map();
  const target = (event) => event.target instanceof Element && event.target.closest("[data-poll]");
  const stop = (element) => { clearInterval(polls.get(element)); polls.delete(element); };
  document.addEventListener("htmx:sse:error", (event) => {
    const element = target(event);
    if (!element || polls.has(element)) return;
    polls.set(element, setInterval(() => {
      if (!element.isConnected) return stop(element);
      if (!document.hidden) htmx.trigger(document.querySelector(element.dataset.poll), "poll");
    }, 2000));
  });
  document.addEventListener("htmx:sse:after:connection", (event) => { const element = target(event); if (element) stop(element); });
  // A replay that has ended: its items are on the whole page.
  document.addEventListener("htmx:sse:close", (event) => {
    const element = target(event);
    if (!element) return;
    stop(element);
    if (event.detail.reason === "message") location.reload();
  });

  // Keys.
  const rows = () => [...document.querySelectorAll("main tr[data-row]")];
  let here = -1;
  const move = (step) => {
    const all = rows();
    if (!all.length) return;
    here = Math.min(Math.max(here + step, 0), all.length - 1);
    for (const row of all) row.classList.toggle("here", row === all[here]);
    all[here].scrollIntoView({ block: "nearest" });
    all[here].querySelector("a")?.focus({ preventScroll: true });
  };
  let after = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
    if (event.key === "Escape" && typing) return typing.blur();
    if (typing || document.querySelector("dialog[open]")) return;
    if (Date.now() - after < 1500) {
      after = 0;
      const link = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); return link.click(); }
    }
    const field = document.querySelector("[data-search]");
    switch (event.key) {
      case "/": if (field) { event.preventDefault(); field.focus(); field.select(); } break;
      case "j": move(1); break;
      case "k": move(-1); break;
      case "g": after = Date.now(); break;
      case ".": document.querySelector("[data-new]")?.click(); break;
      case "?": document.getElementById("help")?.showModal(); break;
    }
  });
})();
