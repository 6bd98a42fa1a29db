-- What Argo CD shows of a TradingBot, by the rules of docs/status.md. A bot that is being deleted is Progressing
-- without being asked.
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not looked at this spec yet"}
end

local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end

-- What holds, as the words of its condition.
local function holds(kind)
  local condition = found[kind]
  if condition ~= nil and condition.status == "True" then
    return condition.message
  end
end

local stalled = holds("Stalled")
if stalled and found["Stalled"].reason ~= "Suspended" then
  return {status = "Degraded", message = stalled}
end
local suspended = holds("ReconciliationSuspended")
if suspended then
  return {status = "Suspended", message = suspended}
end
local ready = holds("Ready")
if ready then
  return {status = "Healthy", message = ready}
end
return {status = "Progressing", message = holds("Reconciling") or "the bot is not ready yet"}
