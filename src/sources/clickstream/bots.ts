/**
 * Programs that say so in their user agent: crawlers, monitors, previews of links, browsers without a window. Those that hide it are not found by
 * this. Each alternative is a plain word, so that no user agent makes the search slow.
 */
const words =
  /bot\b|bot\/|crawl|spider|slurp|mediapartners|adsbot|headless|phantomjs|puppeteer|playwright|selenium|webdriver|lighthouse|pagespeed|gtmetrix|pingdom|uptimerobot|statuscake|facebookexternalhit|embedly|whatsapp\/|telegrambot|scrapy|ahrefs|semrush|bingpreview|yandex(?:bot|images|metrika)|duckduckbot|baiduspider|gptbot|claudebot|ccbot|bytespider/i;

export const isBot = (userAgent: string | null | undefined): boolean =>
  userAgent !== null && userAgent !== undefined && words.test(userAgent.slice(0, 500));
