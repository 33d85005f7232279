/** Calls of the admin API of the daemon that runs on the configured root. */
import { existsSync, readFileSync } from "node:fs";
import { loadConfig } from "../config/load.ts";
import { AppError, describeError } from "../errors.ts";
import { type Refusal, revive } from "../ondemand/control-client.ts";
import { storePaths } from "../store/paths.ts";

type Method = "GET" | "POST" | "PUT" | "DELETE";

const remedy = "start the daemon, or set ROOT or CONFIG as the daemon has them";

/**
 * Throws what the daemon refuses, or `unavailable` where none answers.
 *
 * @param body a text as it is, anything else as JSON
 */
export async function callApi<Answer>(
  method: Method,
  path: string,
  body?: unknown,
): Promise<Answer> {
  const text = await callApiForText(method, path, body);
  try {
    return JSON.parse(text) as Answer;
  } catch (cause) {
    throw new AppError("unavailable", `The answer to "${path}" is not JSON`, { cause, remedy });
  }
}

/** As `callApi`, of an answer that is a text. */
export async function callApiForText(
  method: Method,
  path: string,
  body?: unknown,
): Promise<string> {
  const { apiAddress, root } = storePaths(loadConfig(process.env).root);
  if (!existsSync(apiAddress)) {
    throw new AppError("unavailable", `No admin API is running on root "${root}"`, { remedy });
  }
  const url = `http://${readFileSync(apiAddress, "utf8").trim()}${path}`;
  let response: Response;
  let text: string;
  try {
    const sent = typeof body === "string" ? body : JSON.stringify(body);
    response = await fetch(url, { method, ...(body !== undefined && { body: sent }) });
    text = await response.text();
  } catch (error) {
    throw new AppError("unavailable", `Cannot reach "${url}": ${describeError(error)}`, { remedy });
  }
  if (response.ok) return text;
  throw refusalOf(text, response.status, url);
}

function refusalOf(text: string, status: number, url: string): AppError {
  try {
    return revive(JSON.parse(text) as Refusal, status);
  } catch {
    return new AppError("unavailable", `"${url}" answered ${status}`, { remedy });
  }
}
