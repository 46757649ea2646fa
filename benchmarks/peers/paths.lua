-- wrk asks for the paths in the file that PATHS names, one after the other, again and again.
local requests = {}
local number = 0

function init()
  for path in io.lines(os.getenv("PATHS")) do
    requests[#requests + 1] = wrk.format("GET", path)
  end
end

function request()
  number = number % #requests + 1
  return requests[number]
end
