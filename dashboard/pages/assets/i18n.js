// The words, one dictionary per language.

import { en } from './en.js';
import { zh } from './zh.js';

const dictionaries = { en, zh };
let language = 'en';

export const languages = { en: 'English', zh: '中文' };
export const lang = () => language;

export function setLanguage(next) {
  language = dictionaries[next] ? next : 'en';
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  formats.clear();
}

export function firstLanguage(kept) {
  if (dictionaries[kept]) return kept;
  return navigator.languages?.some((l) => /^(zh|en)/i.test(l)) && navigator.languages.find((l) => /^(zh|en)/i.test(l)).toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

export const has = (key) => key in dictionaries[language];

// t is the text of a key, with {names} in it replaced.
export function t(key, values = {}) {
  const found = dictionaries[language][key] ?? dictionaries.en[key] ?? key;
  return found.replace(/\{(\w+)\}/g, (all, name) => (name in values ? String(values[name]) : all));
}

// tn is the text for a number of things: key.one or key.many.
export function tn(key, n) {
  return t(n === 1 ? `${key}.one` : `${key}.many`, { n: number(n) });
}

const formats = new Map();
function format(name, make) {
  if (!formats.has(name)) formats.set(name, make(document.documentElement.lang));
  return formats.get(name);
}

export const number = (n) => format('number', (l) => new Intl.NumberFormat(l)).format(n);

// rate is a number a second, as short as it can be read.
export function rate(n) {
  if (!n) return '0';
  if (n < 10) return format('rate1', (l) => new Intl.NumberFormat(l, { maximumFractionDigits: 1 })).format(n);
  return format('rate0', (l) => new Intl.NumberFormat(l, { maximumFractionDigits: 1, notation: n >= 10000 ? 'compact' : 'standard' })).format(n < 10000 ? Math.round(n) : n);
}

export function time(at) {
  return format('time', (l) => new Intl.DateTimeFormat(l, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false })).format(new Date(at));
}

export function dateTime(at) {
  return format('date', (l) => new Intl.DateTimeFormat(l, { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false })).format(new Date(at));
}

const steps = [['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]];
export function ago(at) {
  const seconds = Math.round((new Date(at) - Date.now()) / 1000);
  const [unit, size] = steps.find(([, one]) => Math.abs(seconds) >= one) ?? steps.at(-1);
  return format('ago', (l) => new Intl.RelativeTimeFormat(l, { numeric: 'auto' })).format(Math.round(seconds / size), unit);
}
