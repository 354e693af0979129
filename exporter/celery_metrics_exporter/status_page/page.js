"use strict";
// Keeps the page up to date: asks for it again and changes what is different, node by node, so that nothing flickers,
// and scroll position, selection and focus stay. Without it the page reloads itself (meta refresh).
(() => {
  const EVERY = 2000, PATIENCE = 10000;
  const live = document.getElementById("live"), stale = document.getElementById("stale");
  const pause = document.getElementById("pause");
  let paused = false, timer = 0, last = Date.now();

  const attributes = (old, next) => {
    for (const { name } of [...old.attributes]) if (!next.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of next.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  };
  const update = (old, next) => {
    if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName) return old.replaceWith(next);
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== next.data) old.data = next.data;
      return;
    }
    attributes(old, next);
    const olds = [...old.childNodes], nexts = [...next.childNodes];
    nexts.forEach((node, n) => (n < olds.length ? update(olds[n], node) : old.append(node)));
    olds.slice(nexts.length).forEach((node) => node.remove());
  };
  const say = (text) => {
    stale.hidden = !text;
    if (stale.textContent !== text) stale.textContent = text;
    live.classList.toggle("old", Boolean(text));
  };
  const load = async () => {
    // Not location.href: it may carry a user and a password, which fetch refuses.
    const answer = await fetch(location.origin + location.pathname, {
      cache: "no-store", credentials: "same-origin", signal: AbortSignal.timeout(PATIENCE),
    });
    if (!answer.ok) throw new Error(`it answers ${answer.status}`);
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = next.getElementById("live");
    if (!fresh) throw new Error("something else answers");
    update(live, fresh);
    document.title = next.title;
    attributes(document.querySelector("link[rel=icon]"), next.querySelector("link[rel=icon]"));
  };
  const tick = async () => {
    clearTimeout(timer);
    if (paused || document.hidden) return;
    try {
      await load();
      last = Date.now();
      say("");
    } catch (error) {
      const seconds = Math.round((Date.now() - last) / 1000);
      const why = error.name === "Error" ? error.message : "it does not answer";
      say(`The exporter cannot be asked (${why}): this is what it told ${seconds} s ago.`);
    }
    clearTimeout(timer);
    timer = setTimeout(tick, EVERY);
  };
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume" : "Pause";
    tick();
  });
  document.addEventListener("visibilitychange", tick);
  timer = setTimeout(tick, EVERY);
})();
