"""What a page owes to people who do not see it well or use no mouse: names for everything that acts, contrast, one main heading."""

from builders.chromium import Browser

LEAST_CONTRAST, LEAST_CONTRAST_LARGE = 4.5, 3.0
"""WCAG 2.2, 1.4.3 (AA); large is 24 px, or 18.7 px in bold."""

_ACTING = frozenset({"button", "link", "textbox", "searchbox", "combobox", "slider", "checkbox", "image", "img", "spinbutton"})

_CONTRAST = """(() => {
  function channels(colour) { const m = colour.match(/[\\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; }
  function over(top, below) { return [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])); }
  function luminance(c) {
    const [r, g, b] = c.map(v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  function ground(element) {
    const layers = [];
    for (let e = element; e; e = e.parentElement) { layers.push(channels(getComputedStyle(e).backgroundColor)); }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  }
  function shade(element) {
    let opacity = 1;
    for (let e = element; e; e = e.parentElement) { opacity *= Number(getComputedStyle(e).opacity); }
    return opacity;
  }
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest('svg, script, .hidden, .skip')) { continue; }
    if (element.closest(':disabled')) { continue; }
    const style = getComputedStyle(element), below = ground(element), colour = channels(style.color);
    const shown = over([...colour.slice(0, 3), colour[3] * shade(element)], below);
    const [light, dark] = [luminance(shown), luminance(below)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.7 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? %f : %f)) { poor.push(text.slice(0, 40) + ' ' + ratio.toFixed(1)); }
  }
  return poor;
})()"""


def shortcomings(browser: Browser) -> list[str]:
    """What the shown page lacks, in words; empty if nothing."""
    found = [f"poor contrast: {text}" for text in browser.run(_CONTRAST % (LEAST_CONTRAST_LARGE, LEAST_CONTRAST))]
    for node in browser.ask("Accessibility.getFullAXTree")["nodes"]:
        role, name = node.get("role", {}).get("value"), node.get("name", {}).get("value", "")
        if role in _ACTING and not node.get("ignored") and not str(name).strip():
            found.append(f"no name: {role} {node.get('properties', '')}"[:200])
    headings = browser.run("document.querySelectorAll('h1').length")
    if headings != 1:
        found.append(f"{headings} main headings")
    if not browser.run("document.documentElement.lang && document.title"):
        found.append("no language or title")
    return found
