-- Request bodies of 1 MB.
local upload

function init()
  upload = wrk.format("POST", "/large", nil, string.rep("x", 1000000))
end

function request()
  return upload
end
