// Make elements. Text goes in as text, never as markup: names and log lines come from others.

/** Return an element. `properties`: class, text, title, data (an object), on (listeners), attributes. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  const { class: classes, text, data, on, ...attributes } = properties;
  if (classes) made.className = classes;
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(data ?? {})) made.dataset[name] = value;
  for (const [name, listener] of Object.entries(on ?? {})) made.addEventListener(name, listener);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
