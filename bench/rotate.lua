-- For wrk: sends the tokens of a file in turn, one a request. Arguments: the file, and "once" to stop after the last.
local requests = {}
local position = 0
local once = false

function init(arguments)
	once = arguments[2] == "once"
	for token in io.lines(arguments[1]) do
		wrk.headers["Authorization"] = "Bearer " .. token
		requests[#requests + 1] = wrk.format("GET")
	end
end

function request()
	position = position + 1
	if position > #requests then
		position = 1
		if once then wrk.thread:stop() end
	end
	return requests[position]
end
