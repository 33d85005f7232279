/** Calls of the admin API of the daemon that runs on the configured root. */
import { existsSync, readFileSync } from "node:fs";
import { loadConfig } from "../config/load.ts";
import { AppError, describeError } from "../errors.ts";
import { type Refusal, revive } from "../ondemand/control-client.ts";
import { storePaths } from "../store/paths.ts";

/** Throws what the daemon refuses, or `unavailable` where none answers. */
export async function callApi<Answer>(
  method: "GET" | "POST" | "DELETE",
  path: string,
  body?: unknown,
): Promise<Answer> {
  const { apiAddress, root } = storePaths(loadConfig(process.env).root);
  const remedy = "start the daemon, or set ROOT or CONFIG as the daemon has them";
  if (!existsSync(apiAddress)) {
    throw new AppError("unavailable", `No admin API is running on root "${root}"`, { remedy });
  }
  const url = `http://${readFileSync(apiAddress, "utf8").trim()}${path}`;
  let response: Response;
  try {
    response = await fetch(url, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  } catch (error) {
    throw new AppError("unavailable", `Cannot reach "${url}": ${describeError(error)}`, { remedy });
  }
  try {
    const answer = (await response.json()) as Answer;
    if (response.ok) return answer;
    throw revive(answer as Refusal, response.status);
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError("unavailable", `"${url}" answered ${response.status}`, { remedy });
  }
}
