// What the pages do beyond HTML: refresh themselves, select all rows, and copy texts. Without this
// script, everything else works.
"use strict";

// Refresh: fetch the page every few seconds, and replace the parts that are marked as live.
if (document.getElementById("refresh-toggle")) {
    const SHORTEST_MS = 5000;
    const TIMES_AS_LONG_AS_READING = 20;
    const LONGEST_READING_MS = 10000;

    const toggle = document.getElementById("refresh-toggle");
    const trouble = document.getElementById("refresh-trouble");
    let timer = null;

    const isOn = () => toggle.getAttribute("aria-checked") === "true";

    // Finds an element again in the replacement: by its id, its link or its value, or by its place in
    // the nearest element that has an id. Returns undefined if it is gone.
    const findAgain = (element, part, replacement) => {
        const find = (selector) => replacement.querySelector(selector) ?? undefined;
        if (element.id) return find(`#${CSS.escape(element.id)}`);
        if (element.localName === "a") return find(`a[href="${CSS.escape(element.getAttribute("href"))}"]`);
        if (element.localName === "input") return find(`input[value="${CSS.escape(element.value)}"]`);
        const around = element.parentElement.closest("[id]");
        const same = around === part ? replacement : find(`#${CSS.escape(around.id)}`);
        const place = [...around.querySelectorAll(element.localName)].indexOf(element);
        return same?.querySelectorAll(element.localName)[place];
    };

    // What the visitor has checked, opened or scrolled stays so. Returns what is to be scrolled.
    const keepState = (part, replacement) => {
        for (const box of part.querySelectorAll("input[type=checkbox]:checked")) {
            const same = findAgain(box, part, replacement);
            if (same) same.checked = true;
        }
        for (const details of part.querySelectorAll("details[open]")) {
            const same = findAgain(details, part, replacement);
            if (same) same.open = true;
        }
        return [...part.querySelectorAll("pre")]
            .map((text) => [findAgain(text, part, replacement), text.scrollTop])
            .filter(([same, top]) => same && top);
    };

    const replace = (fresh) => {
        for (const part of document.querySelectorAll("[data-live]")) {
            const replacement = fresh.getElementById(part.id);
            if (!replacement || replacement.innerHTML === part.innerHTML) continue;
            const active = part.contains(document.activeElement) ? document.activeElement : null;
            if (active?.type === "submit" && !active.id) continue; // it may be about to be pressed
            const focused = active && findAgain(active, part, replacement);
            const scrolled = keepState(part, replacement);
            part.replaceChildren(...replacement.childNodes);
            for (const [text, top] of scrolled) text.scrollTop = top;
            focused?.focus({ preventScroll: true });
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
        document.dispatchEvent(new Event("buckets:refreshed"));
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

    const state = toggle.querySelector(".switch-state");
    toggle.hidden = false;
    toggle.addEventListener("click", () => {
        toggle.setAttribute("aria-checked", String(!isOn()));
        state.textContent = isOn() ? state.dataset.on : state.dataset.off;
        wait(0);
    });
    wait(SHORTEST_MS);
}

// Selection: a box that checks all rows of the page, and the number of checked rows.
{
    const page = document.getElementById("select-page");
    const across = document.getElementById("select-across");
    const count = document.getElementById("selected-count");
    const boxes = () => document.querySelectorAll("input[name=bucket], input[name=letter]");

    const show = () => {
        const all = boxes();
        const checked = [...all].filter((box) => box.checked).length;
        page.checked = checked > 0 && checked === all.length;
        page.indeterminate = checked > 0 && checked < all.length;
        if (!count) return;
        count.hidden = !checked || across.checked;
        count.textContent = count.dataset.text.replace("%s", checked);
    };

    if (page) {
        page.hidden = false;
        page.closest("[hidden]")?.removeAttribute("hidden");
        page.addEventListener("change", () => {
            for (const box of boxes()) box.checked = page.checked;
        });
        document.addEventListener("change", show);
        document.addEventListener("buckets:refreshed", show);
        window.addEventListener("pageshow", show);
        show();
    }
}

// Copy: a button below each event, error and traceback.
{
    const showButtons = () => {
        for (const button of document.querySelectorAll("button.copy")) button.hidden = false;
    };

    const copy = async (text) => {
        if (navigator.clipboard) return navigator.clipboard.writeText(text.textContent);
        // Over plain HTTP, browsers only copy what is selected.
        window.getSelection().selectAllChildren(text);
        document.execCommand("copy");
        window.getSelection().removeAllRanges();
    };

    document.addEventListener("click", async (event) => {
        const button = event.target.closest("button.copy");
        if (!button) return;
        await copy(button.parentElement.querySelector("pre"));
        const before = button.textContent;
        button.textContent = button.dataset.done;
        window.setTimeout(() => { button.textContent = before; }, 2000);
    });
    document.addEventListener("buckets:refreshed", showButtons);
    showButtons();
}
