// What is wrong with the layout of the page, as texts: parts that are cut, or reach out of their box.
() => {
    const MOST_PX = 1; // positions are fractions
    const content = document.querySelector("#content-main");
    const faults = [];

    const describe = (element) => {
        const name = element.id ? `#${element.id}` : `.${[...element.classList].join(".")}`;
        return `${element.localName}${name} "${element.textContent.trim().slice(0, 40)}"`;
    };
    const isShown = (element) =>
        element.checkVisibility({ visibilityProperty: true })
        && !element.closest(".visually-hidden, svg, input")
        // A heading that only screen readers find.
        && getComputedStyle(element.closest("thead") ?? element).clipPath === "none";
    const reachesOut = (inner, outer) =>
        inner.width > 0 && (inner.left < outer.left - MOST_PX || inner.right > outer.right + MOST_PX);
    const covers = (upper, lower) =>
        upper.left < lower.right && upper.right > lower.left
        && upper.top < lower.bottom && upper.bottom > lower.top;
    // The nearest box around a text. Inline elements have none of their own.
    const boxAround = (element) =>
        getComputedStyle(element).display.startsWith("inline") && element.localName !== "button"
            ? boxAround(element.parentElement) : element;

    const { scrollWidth } = document.documentElement;
    if (scrollWidth > innerWidth) faults.push(`page: ${scrollWidth} > ${innerWidth}`);

    const edges = content.getBoundingClientRect();
    for (const element of content.querySelectorAll("*")) {
        if (!isShown(element)) continue;
        if (reachesOut(element.getBoundingClientRect(), edges)) {
            faults.push(`beside the content: ${describe(element)}`);
        }
        const isInline = getComputedStyle(element).display === "inline";
        const overflow = getComputedStyle(element).overflowX;
        if (!isInline && overflow !== "visible"
            && element.scrollWidth > element.clientWidth + MOST_PX) {
            faults.push(`cut: ${describe(element)}`);
        }
    }

    const texts = document.createTreeWalker(content, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode;
        if (!text.data.trim() || !isShown(text.parentElement)) continue;
        const box = boxAround(text.parentElement);
        const range = document.createRange();
        range.selectNodeContents(text);
        const lines = new Set([...range.getClientRects()].map((line) => Math.round(line.top)));
        if (lines.size > 1 && /^[\d.,\s]+$/.test(text.data)) {
            faults.push(`broken number: ${describe(box)}`);
        }
        const button = box.closest(".copied")?.querySelector(".copy");
        if (button && button !== box && [...range.getClientRects()].some(
            (line) => covers(button.getBoundingClientRect(), line))) {
            faults.push(`covered: ${describe(box)}`);
        }
        if ([...range.getClientRects()].some(
            (line) => reachesOut(line, box.getBoundingClientRect()))) {
            faults.push(`out of its box: ${describe(box)}`);
        }
    }

    for (const label of content.querySelectorAll("svg text")) {
        if (label.checkVisibility()
            && reachesOut(label.getBoundingClientRect(), label.closest("svg").getBoundingClientRect())) {
            faults.push(`cut: ${describe(label)}`);
        }
    }
    return faults;
}
