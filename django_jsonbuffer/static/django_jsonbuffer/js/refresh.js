// Fetches the page every few seconds, and replaces the parts that are marked as live.
"use strict";

{
    const SHORTEST_MS = 5000;
    const TIMES_AS_LONG_AS_READING = 20;
    const LONGEST_READING_MS = 30000;

    const toggle = document.getElementById("refresh-toggle");
    const trouble = document.getElementById("refresh-trouble");
    let timer = null;

    const isOn = () => toggle.getAttribute("aria-pressed") === "true";

    // A selector that finds the focused element again in the replacement.
    const selectorOf = (element) => {
        const link = element.getAttribute("href");
        if (element.id) return `#${CSS.escape(element.id)}`;
        return link ? `a[href="${CSS.escape(link)}"]` : null;
    };

    const replace = (fresh) => {
        for (const part of document.querySelectorAll("[data-live]")) {
            const replacement = fresh.getElementById(part.id);
            if (!replacement || replacement.innerHTML === part.innerHTML) continue;
            const active = document.activeElement;
            const selector = part.contains(active) ? selectorOf(active) : null;
            if (part.contains(active) && !selector) continue; // keep a button that may be about to be pressed
            part.replaceChildren(...replacement.childNodes);
            if (selector) part.querySelector(selector)?.focus({ preventScroll: true });
        }
    };

    const read = async () => {
        const signal = AbortSignal.timeout(LONGEST_READING_MS);
        const response = await fetch(window.location.href, { credentials: "same-origin", signal });
        if (response.redirected) return trouble.dataset.loggedOut;
        const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
        if (!response.ok) {
            const error = fresh.querySelector("#content-main .errornote");
            return `${trouble.dataset.away} ${error ? error.textContent : ""}`;
        }
        replace(fresh);
        return "";
    };

    const refresh = async () => {
        const begun = performance.now();
        let message = "";
        if (!document.hidden) {
            try {
                message = await read();
            } catch {
                message = trouble.dataset.away;
            }
            // A screen reader would read the same message out again.
            if (trouble.textContent !== message) trouble.textContent = message;
        }
        // Wait longer for a slow page, so that refreshing does not keep the server busy.
        wait(Math.max(SHORTEST_MS, TIMES_AS_LONG_AS_READING * (performance.now() - begun)));
    };

    const wait = (ms) => {
        window.clearTimeout(timer);
        if (isOn()) timer = window.setTimeout(refresh, ms);
    };

    toggle.hidden = false;
    toggle.addEventListener("click", () => {
        toggle.setAttribute("aria-pressed", String(!isOn()));
        wait(0);
    });
    wait(SHORTEST_MS);
}
