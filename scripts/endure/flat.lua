-- Lookups of any account and patient, for wrk.

local threads = 0

function setup(thread)
    threads = threads + 1
    thread:set('seed', 20220317 + threads)
end

function init()
    math.randomseed(seed)
end

function request()
    return wrk.format('GET', '/?patient=' .. math.random(200), {
        Host = 'localhost',
        ['X-Account'] = 'a' .. math.random(5000)
    })
end
